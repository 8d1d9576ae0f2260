-- Acts of operators (db/migrations/0032_acts.sql).

-- name: server_time
-- The database's clock, by which a run shows that it lives.
select clock_timestamp() as now;

-- name: record
-- One act, in the transaction that does it.
insert into public.sync_acts (who, how, act, workspace_id, target, reason, forecast, result)
values (%(who)s, %(how)s, %(act)s, %(workspace)s, %(target)s, %(reason)s, %(forecast)s, %(result)s)
returning id;

-- name: list
-- Up to `rows` + 1 acts before one, the newest first, of one workspace or of all. What a run says of itself is `one`'s.
select a.id, a.at, a.who, a.how, a.act, a.workspace_id as workspace, a.target, a.reason, a.forecast,
       case when a.result ->> 'state' = 'running' and (a.result ->> 'at')::timestamptz < clock_timestamp() - interval '2 min'
            then a.result || '{"state": "broken off"}' else a.result end as result
  from public.sync_acts as a
 where (a.id < %(before)s::bigint or %(before)s::bigint is null)
   and (a.workspace_id = %(workspace)s::uuid or %(workspace)s::uuid is null)
 order by a.id desc limit %(rows)s + 1;

-- name: one
-- A run that has said nothing for two minutes has ended without a word: its portions are ten seconds apart at most.
select a.id, a.at, a.who, a.how, a.act, a.workspace_id as workspace, a.target, a.reason, a.forecast,
       case when a.result ->> 'state' = 'running' and (a.result ->> 'at')::timestamptz < clock_timestamp() - interval '2 min'
            then a.result || '{"state": "broken off"}' else a.result end as result
  from public.sync_acts as a
 where a.id = %(id)s;

-- name: progress
-- How far a run is; returns whether an operator has asked it to stop. A run that has ended is left as it is.
update public.sync_acts as a
   set result = a.result || jsonb_build_object('state', %(state)s::text, 'done', %(done)s::bigint, 'at', clock_timestamp())
 where a.id = %(id)s and a.result ->> 'state' = 'running'
returning exists (
  select from public.sync_acts as s
   where s.id > a.id and s.act = 'stop' and s.target -> 'run' = to_jsonb(a.id)) as stops;

-- name: one_at_a_time
-- Until the end of the transaction: who begins a run on a page looks whether another one runs, one after the other.
select pg_catalog.pg_advisory_xact_lock(718300, 5);

-- name: running
-- The run of a kind that is under way, among the last acts.
select a.id, a.who
  from (select * from public.sync_acts as a order by a.id desc limit 1000) as a
 where a.act = %(act)s and a.result ->> 'state' = 'running'
   and (a.result ->> 'at')::timestamptz >= clock_timestamp() - interval '2 min'
 order by a.id desc limit 1;
