-- Pulses of the replicas (db/migrations/0031_pulses.sql).

-- name: write
-- One row a minute and replica; a second one takes the first one's place. What is older than 48 hours is deleted on the
-- way, but for the last pulse of a replica that lives: one that has been idle for days keeps showing its version and
-- settings.
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

-- name: minutes
-- What all replicas did in a time, up to `cap` + 1 rows: a row a minute and replica.
select p.minute, p.counts, p.done, p.answers
  from public.sync_pulses as p
 where p.minute >= %(since)s and p.minute < %(until)s
 order by p.minute desc
 limit %(cap)s + 1;

-- name: replicas
-- The last pulse of each replica that lives, which is one whose lease a session holds, and of those that were there within
-- the last hour; up to `cap` of them. `pid` is of the session that claims.
with newest as (
  select p.replica, max(p.minute) as minute from public.sync_pulses as p group by p.replica
)
select p.replica, p.host, h.pid, h.pid is not null as lives, p.version, p.started_at, p.pulsed_at, p.gate, p.breaker,
       p.in_flight_items, p.in_flight_requests, p.rate, p.lag, p.standings, p.lanes, p.settings
  from newest as n
  join public.sync_pulses as p on p.minute = n.minute and p.replica = n.replica
  left join public.sync_lease_holders() as h on h.lease = (p.lease_no & 2147483647)
 where h.pid is not null or p.pulsed_at > now() - interval '1 hour'
 order by h.pid is null, p.host, p.started_at
 limit %(cap)s;
