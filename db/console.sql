-- Roles for the people who look after the reactor, by `python -m reactor console` or with SQL; nothing else needs them.
-- Run it as the owner of the tables, after the migrations, and again after each upgrade. Give a role a member:
--
--     create role my_console login password '...' connection limit 5 in role calendar_sync_viewer;
--
--   calendar_sync_viewer    sees everything but texts of events and credentials
--   calendar_sync_operator  may also put dead letters back, release the brake, enable and disable connections, start a
--                           rebuild, and record what it does
--   calendar_sync_words     may also read the texts of an item; each look is recorded, with a reason
--
-- Who may not read a text may not read it with SQL either: of the tables that hold texts or credentials the roles have
-- columns, not the table. Where a query needs more than those columns (which source a row is about, how long a title
-- is) it reads a view of the schema calendar_sync, which has the table's name and columns, and dots in the place of
-- words: as many as the text has characters, so what is refused for its length is refused there too. The views have
-- their owner's rights. They lie in a schema of their own, because some platforms publish every view of `public`.

-- Creating roles takes CREATEROLE, and the schema CREATE on the database. Where the owner has neither, have the roles and
-- `create schema calendar_sync authorization <owner>` made beforehand, and the rest of this file works.

do $$
begin
  if to_regnamespace('calendar_sync') is null then
    create schema calendar_sync;
  end if;
end $$;

do $$
declare
  each_role text;
begin
  foreach each_role in array array['calendar_sync_viewer', 'calendar_sync_operator', 'calendar_sync_words'] loop
    begin
      if not exists (select from pg_catalog.pg_roles where rolname = each_role) then
        execute format('create role %I nologin', each_role);
      end if;
    exception
      when duplicate_object or unique_violation then null;  -- roles belong to all databases of a server
    end;
  end loop;
  -- Not granted again where it is: that would take the right to grant it.
  foreach each_role in array array['calendar_sync_operator', 'calendar_sync_words'] loop
    if not pg_catalog.pg_has_role(each_role, 'calendar_sync_viewer', 'usage') then
      execute format('grant calendar_sync_viewer to %I', each_role);
    end if;
  end loop;
end $$;

-- Who may create an operator that a view's function uses, and puts its schema first in the search path, is handed what
-- the view hides.
do $$
declare
  open_schema text;
begin
  select n.nspname into open_schema
    from pg_catalog.pg_namespace as n
   where pg_catalog.has_schema_privilege('calendar_sync_viewer', n.oid, 'create')
     and n.nspname !~ '^pg_temp_'  -- where operators are not looked for
   limit 1;
  if found then
    raise exception 'Anybody may create objects in the schema %, so nothing could be hidden: run '
                    '"revoke create on schema % from public" first.', open_schema, open_schema;
  end if;
  if pg_catalog.has_database_privilege('calendar_sync_viewer', pg_catalog.current_database(), 'create') then
    raise exception 'Anybody may create schemas in this database, so nothing could be hidden: revoke that first.';
  end if;
end $$;

-- What is no text of people stays as it is, if it has the shape of what it should be; what has another shape may be
-- anything, and becomes dots. What is nested where a plain value belongs is emptied. The body is bound to pg_catalog when
-- the function is made, so it needs no search path of its own, and the planner puts it in the place of the call: one call
-- took 10 us, and an event takes eight.
create or replace function calendar_sync.hidden(given jsonb, shape text default null)
returns jsonb
language sql
stable
parallel safe
return case pg_catalog.jsonb_typeof(given)
         when 'object' then '{}'::jsonb
         when 'array' then '[]'::jsonb
         when 'string' then
           case when (given #>> '{}') ~ shape then given
                else pg_catalog.to_jsonb(pg_catalog.repeat('·', pg_catalog.length(given #>> '{}'))) end
         when 'number' then
           case when shape is null then pg_catalog.to_jsonb(pg_catalog.repeat('·', pg_catalog.length(given #>> '{}')))
                else given end
         else given end;

-- Rules of recurrence. One that the contract takes and that is no plain rule keeps its name.
create or replace function calendar_sync.hidden_rules(given jsonb)
returns jsonb
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case when jsonb_typeof(given) <> 'array' then calendar_sync.hidden(given)
              else coalesce((
                select jsonb_agg(
                  case
                    when jsonb_typeof(r.rule) <> 'string' then calendar_sync.hidden(r.rule)
                    when r.line ~ '^(RRULE|EXRULE):([A-Z]+=[A-Z0-9,+-]+;?)+$'
                      or r.line ~ '^(RDATE|EXDATE)(;TZID=[A-Za-z_/+-]+|;VALUE=[A-Z-]+)*:[0-9TZ,/]+$' then r.rule
                    when r.line ~* '^(RRULE|EXRULE|RDATE|EXDATE)[;:][^\x01-\x1f\x7f]+$'
                    then to_jsonb(substring(r.line from '^[^;:]*[;:]')
                                  || repeat('·', length(r.line) - length(substring(r.line from '^[^;:]*[;:]'))))
                    else calendar_sync.hidden(r.rule) end order by r.n)
                  from (select e.rule, e.n, e.rule #>> '{}' as line
                          from jsonb_array_elements(given) with ordinality as e (rule, n)) as r), '[]') end
$$;

-- The event of a payload without its words (docs/payload.md): the fields of the contract and no other, because nobody
-- knows what the others hold.
create or replace function calendar_sync.redacted_event(event jsonb)
returns jsonb
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(f.name, case f.name
             when 'isAllDay' then calendar_sync.hidden(f.given, '^$')
             when 'timeZone' then calendar_sync.hidden(f.given, '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$')
             when 'start' then calendar_sync.hidden(f.given, '^[0-9TtZzW:.+ -]{1,40}$')
             when 'end' then calendar_sync.hidden(f.given, '^[0-9TtZzW:.+ -]{1,40}$')
             when 'colorId' then calendar_sync.hidden(f.given, '^[0-9]{1,3}$')
             when 'recurrence' then calendar_sync.hidden_rules(f.given)
             when 'reminders' then
               case when jsonb_typeof(f.given) <> 'object' then calendar_sync.hidden(f.given)
                    else jsonb_strip_nulls(jsonb_build_object(
                      'useDefault', calendar_sync.hidden(f.given -> 'useDefault', '^$'),
                      'overrides', case when jsonb_typeof(f.given -> 'overrides') <> 'array'
                                        then calendar_sync.hidden(f.given -> 'overrides')
                                        else (select coalesce(jsonb_agg(case when jsonb_typeof(o.given) = 'object'
                                                  then jsonb_strip_nulls(jsonb_build_object(
                                                    'method',
                                                    calendar_sync.hidden(o.given -> 'method', '^(email|popup)$'),
                                                    'minutes', calendar_sync.hidden(o.given -> 'minutes', '^$')))
                                                  else calendar_sync.hidden(o.given) end order by o.n), '[]')
                                                from jsonb_array_elements(f.given -> 'overrides')
                                                     with ordinality as o (given, n)) end)) end
             else calendar_sync.hidden(f.given) end), '{}')
    from jsonb_each(event) as f (name, given)
   where f.name in ('isAllDay', 'timeZone', 'title', 'description', 'location', 'start', 'end', 'colorId', 'recurrence',
                    'reminders')
$$;

-- A payload without its words, likewise.
create or replace function calendar_sync.redacted(payload jsonb)
returns jsonb
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case when jsonb_typeof(payload) <> 'object' then calendar_sync.hidden(payload)
              else coalesce((
                select jsonb_object_agg(f.name, case f.name
                    when 'operation' then calendar_sync.hidden(f.given, '^[A-Z_]{1,20}$')
                    when 'eventType' then calendar_sync.hidden(f.given, '^[A-Z_]{1,30}$')
                    when 'workspaceId' then calendar_sync.hidden(f.given, '^(urn:uuid:)?[{]?[0-9A-Fa-f-]{32,36}[}]?$')
                    when 'sourceType' then calendar_sync.hidden(f.given, '^[^:[:space:]]{1,40}$')
                    when 'sourceId' then calendar_sync.hidden(f.given, '^[0-9A-Za-z_-]{1,40}$')
                    when 'calendarId' then calendar_sync.hidden(f.given, '^[^[:space:]]+$')
                    when 'googleEventId' then calendar_sync.hidden(f.given, '^[0-9A-Za-z_.@-]+$')
                    when 'recreate' then calendar_sync.hidden(f.given, '^$')
                    when 'event' then case when jsonb_typeof(f.given) <> 'object' then calendar_sync.hidden(f.given)
                                           else calendar_sync.redacted_event(f.given) end
                    end)
                  from jsonb_each(payload) as f (name, given)
                 where f.name in ('operation', 'eventType', 'workspaceId', 'sourceType', 'sourceId', 'calendarId',
                                  'googleEventId', 'recreate', 'event')), '{}') end
$$;

-- The tables under their names. Beside their columns the outbox has what is made of a payload before its words are
-- hidden: the source's key, in the form of the index over it; the sizes; and which transaction has locked the row.
create or replace view calendar_sync.sync_outbox as
select o.id, o.workspace_id, o.operation, calendar_sync.redacted(o.payload) as payload, o.status, o.attempts,
       o.max_attempts, o.next_attempt_at, o.last_error, o.created_at, o.updated_at, o.processed_at, o.seq, o.claim_no,
       o.parent_id, o.failure_code, o.lease_no, o.losses, public.sync_source_key(o.payload, o.id) as source_key,
       pg_catalog.pg_column_size(o.payload) as payload_stored, octet_length(o.payload::text) as payload_bytes,
       o.xmax as row_xmax
  from public.sync_outbox as o;

create or replace view calendar_sync.sync_sources as
select s.workspace_id, s.source_key, s.floor_seq, s.generation, s.google_event_id, s.calendar_id, s.etag,
       calendar_sync.redacted(s.payload) as payload, s.cancelled, s.reopen, s.strays, s.updated_at, s.removed_at
  from public.sync_sources as s;

create or replace view calendar_sync.calendar_event_bindings as
select b.id, b.workspace_id, b.google_event_id, b.calendar_id, b.source_type, b.source_id, b.event_type,
       repeat('·', length(b.event_title)) as event_title, b.event_start, b.event_end, b.last_synced_at, b.sync_version,
       b.created_at, b.updated_at
  from public.calendar_event_bindings as b;

-- Of an encrypted credential its kind and the name of its key are left (reactor/token_encryption.py).
create or replace view calendar_sync.google_connections as
select c.id, c.workspace_id,
       coalesce(substring(c.refresh_token_encrypted
                          from '^(v[12]:[A-Za-z0-9_-]{1,16}:)[A-Za-z0-9+/]*={0,2}(?:[.][0-9a-f]*)?$'), '')
         as refresh_token_encrypted,
       c.calendar_id, c.is_valid, c.created_at, c.updated_at
  from public.google_connections as c;

-- What the application wants, in the form of its calendar_source_events and without the words; of one source, or of all.
-- The source is looked for before the words are taken out, which takes longer than all else.
create or replace function calendar_sync.calendar_source_events(of_workspace uuid, of_source text)
returns table (
  workspace_id uuid, source_type text, source_id text, calendar_id text, event_type text, title text, description text,
  location text, start_at jsonb, end_at jsonb, is_all_day jsonb, recurrence jsonb, color_id text, time_zone text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  wanted jsonb;
begin
  for wanted in
    execute case when to_regclass('public.calendar_source_events') is not null
                 then 'select to_jsonb(e) from public.calendar_source_events as e'
                 else 'select to_jsonb(e) from public.calendar_source_events($1) as e' end
            || ' where e.workspace_id = $1 and ($2 is null or e.source_id::text = $2)'
    using of_workspace, of_source
  loop
    workspace_id := of_workspace;
    source_type := left(wanted ->> 'source_type', 100);
    source_id := left(wanted ->> 'source_id', 100);
    calendar_id := calendar_sync.hidden(wanted -> 'calendar_id', '^[^[:space:]]+$') #>> '{}';
    event_type := calendar_sync.hidden(wanted -> 'event_type', '^[A-Z_]{1,30}$') #>> '{}';
    title := repeat('·', length(wanted ->> 'title'));
    description := repeat('·', length(wanted ->> 'description'));
    location := repeat('·', length(wanted ->> 'location'));
    start_at := calendar_sync.hidden(wanted -> 'start_at', '^[0-9TtZzW:.+ -]{1,40}$');
    end_at := calendar_sync.hidden(wanted -> 'end_at', '^[0-9TtZzW:.+ -]{1,40}$');
    is_all_day := calendar_sync.hidden(wanted -> 'is_all_day', '^(true|false|[tfyn01])$');
    recurrence := calendar_sync.hidden_rules(wanted -> 'recurrence');
    color_id := calendar_sync.hidden(wanted -> 'color_id', '^[0-9]{1,3}$') #>> '{}';
    time_zone := calendar_sync.hidden(wanted -> 'time_zone', '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$') #>> '{}';
    return next;
  end loop;
end $$;

create or replace function calendar_sync.calendar_source_events(of_workspace uuid)
returns table (
  workspace_id uuid, source_type text, source_id text, calendar_id text, event_type text, title text, description text,
  location text, start_at jsonb, end_at jsonb, is_all_day jsonb, recurrence jsonb, color_id text, time_zone text
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from calendar_sync.calendar_source_events(of_workspace, null)
$$;

-- An item's payload with its words. The look is recorded in the same statement, so there is none without a reason; the
-- login is recorded beside the person whom it names.
create or replace function calendar_sync.words(item uuid, who text, how text, reason text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  found_row record;
begin
  if coalesce(btrim(reason), '') = '' then
    raise exception 'Say why: a look at texts of events needs a reason.' using errcode = 'check_violation';
  end if;
  select o.workspace_id, o.payload into found_row from public.sync_outbox as o where o.id = item;
  if not found then
    return null;
  end if;
  insert into public.sync_acts (who, how, act, workspace_id, target, reason)
  values (left(words.who, 200), words.how, 'words', found_row.workspace_id,
          jsonb_build_object('item', item, 'login', session_user), left(words.reason, 500));
  return found_row.payload;
end $$;

revoke all on all tables in schema calendar_sync from public;
revoke execute on all functions in schema calendar_sync from public;
grant usage on schema public, calendar_sync to calendar_sync_viewer;
grant select on all tables in schema calendar_sync to calendar_sync_viewer;
grant execute on function
  calendar_sync.hidden(jsonb, text),
  calendar_sync.hidden_rules(jsonb),
  calendar_sync.redacted(jsonb),
  calendar_sync.redacted_event(jsonb),
  calendar_sync.calendar_source_events(uuid),
  calendar_sync.calendar_source_events(uuid, text),
  public.sync_source_key(jsonb, uuid),
  public.sync_lease_holders(),
  public.sync_item_holders(),
  public.sync_item_key(uuid)
to calendar_sync_viewer;
grant execute on function calendar_sync.words(uuid, text, text, text) to calendar_sync_words;

-- The columns that hold neither a text nor a credential.
grant select (id, workspace_id, operation, status, attempts, max_attempts, next_attempt_at, last_error, created_at,
              updated_at, processed_at, seq, claim_no, parent_id, failure_code, lease_no, losses)
  on public.sync_outbox to calendar_sync_viewer;
grant select (workspace_id, source_key, floor_seq, generation, google_event_id, calendar_id, etag, cancelled, reopen,
              strays, updated_at, removed_at)
  on public.sync_sources to calendar_sync_viewer;
grant select (id, workspace_id, google_event_id, calendar_id, source_type, source_id, event_type, event_start,
              event_end, last_synced_at, sync_version, created_at, updated_at)
  on public.calendar_event_bindings to calendar_sync_viewer;
grant select (id, workspace_id, calendar_id, is_valid, created_at, updated_at)
  on public.google_connections to calendar_sync_viewer;
grant select on public.sync_brakes, public.sync_departures, public.sync_set_aside, public.sync_order_gaps,
                public.sync_acts, public.sync_invitations, public.sync_pulses
  to calendar_sync_viewer;

-- A dead letter becomes PENDING, as the statement of a requeue writes it.
grant update (status, attempts, next_attempt_at, processed_at, failure_code, last_error)
  on public.sync_outbox to calendar_sync_operator;
-- A rebuild.
grant insert (workspace_id, operation, payload) on public.sync_outbox to calendar_sync_operator;
-- A release, with the place up to which it holds.
grant update (released_at, passes) on public.sync_brakes to calendar_sync_operator;
grant usage on sequence public.sync_outbox_seq to calendar_sync_operator;
grant update (is_valid) on public.google_connections to calendar_sync_operator;
-- An invitation is taken back; to make one takes a login that may store the credential that comes of it.
grant update (revoked_at) on public.sync_invitations to calendar_sync_operator;
-- Acts are written and never changed, but for how far a run is.
grant insert (who, how, act, workspace_id, target, reason, forecast, result)
  on public.sync_acts to calendar_sync_operator;
grant update (result) on public.sync_acts to calendar_sync_operator;

-- Row level security: which rows. Each call is a transaction of its own, and takes its lock for an instant, only where
-- the policy is not there.
create or replace function pg_temp.add_policy(place text, policy text, what text)
returns void
language plpgsql
as $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (select from pg_catalog.pg_policy where polrelid = place::regclass and polname = policy) then
    execute format('create policy %I on %s %s', policy, place, what);
  end if;
end $$;

select pg_temp.add_policy('public.sync_outbox', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_sources', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.calendar_event_bindings', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.google_connections', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_brakes', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_departures', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_set_aside', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_order_gaps', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_pulses', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_acts', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');
select pg_temp.add_policy('public.sync_invitations', 'calendar_sync_viewer',
  'for select to calendar_sync_viewer using (true)');

select pg_temp.add_policy('public.sync_outbox', 'calendar_sync_operator_requeues',
  $$for update to calendar_sync_operator using (status = 'DEAD_LETTER') with check (status = 'PENDING')$$);
-- Into the workspace's own calendar: into another one a rebuild would carry texts to where the operator may read them.
select pg_temp.add_policy('public.sync_outbox', 'calendar_sync_operator_rebuilds',
  $$for insert to calendar_sync_operator with check (
      operation = 'REBUILD_ALL' and payload ->> 'operation' = 'REBUILD_ALL'
      and payload ->> 'workspaceId' = workspace_id::text
      and payload ->> 'calendarId' = (
        select c.calendar_id from public.google_connections as c where c.workspace_id = sync_outbox.workspace_id))$$);
select pg_temp.add_policy('public.sync_brakes', 'calendar_sync_operator',
  'for update to calendar_sync_operator using (released_at is null) with check (true)');
select pg_temp.add_policy('public.google_connections', 'calendar_sync_operator',
  'for update to calendar_sync_operator using (true) with check (true)');
select pg_temp.add_policy('public.sync_invitations', 'calendar_sync_operator_revokes',
  $$for update to calendar_sync_operator using (used_at is null and revoked_at is null)
    with check (revoked_at is not null)$$);
select pg_temp.add_policy('public.sync_acts', 'calendar_sync_operator_records',
  'for insert to calendar_sync_operator with check (true)');
select pg_temp.add_policy('public.sync_acts', 'calendar_sync_operator_proceeds',
  $$for update to calendar_sync_operator using (result ->> 'state' = 'running') with check (true)$$);
