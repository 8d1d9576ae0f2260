-- Pulses of the replicas (db/migrations/0031_pulses.sql).

-- name: write
-- One row a minute and replica; a second one takes the first one's place. What is older than 48 hours is deleted on the way,
-- but for the last pulse of a replica that lives: one that has been idle for days keeps showing its version and settings.
with old as materialized (
  select p.minute, p.replica
    from public.sync_pulses as p
   where p.minute < now() - interval '48 hours'
     and (p.lease_no is null
          or (p.lease_no & 2147483647) not in (select h.lease from public.sync_lease_holders() as h)
          or exists (select from public.sync_pulses as n where n.replica = p.replica and n.minute > p.minute))
   order by p.minute
   limit 100
     for update skip locked
), gone as (
  delete from public.sync_pulses as p using old as o where p.minute = o.minute and p.replica = o.replica
)
insert into public.sync_pulses (
  minute, replica, started_at, host, version, settings, lease_no, gate, breaker, in_flight_items, in_flight_requests,
  rate, lag, standings, lanes, counts, waited, done, answers)
values (
  to_timestamp(%(minute)s), %(replica)s, to_timestamp(%(started_at)s), %(host)s, %(version)s, %(settings)s, %(lease)s,
  %(gate)s, %(breaker)s, %(items)s, %(requests)s, %(rate)s, %(lag)s, %(standings)s, %(lanes)s, %(counts)s, %(waited)s,
  %(done)s, %(answers)s)
on conflict (minute, replica) do update
  set pulsed_at = clock_timestamp(), settings = excluded.settings, lease_no = excluded.lease_no, gate = excluded.gate,
      breaker = excluded.breaker, in_flight_items = excluded.in_flight_items,
      in_flight_requests = excluded.in_flight_requests, rate = excluded.rate, lag = excluded.lag,
      standings = excluded.standings, lanes = excluded.lanes, counts = excluded.counts, waited = excluded.waited,
      done = excluded.done, answers = excluded.answers;
