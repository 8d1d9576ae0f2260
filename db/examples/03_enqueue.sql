-- From a change of a row to a row of the outbox, in the same transaction: both are there, or neither.
--
-- 1. The source row first, the outbox row second. These are AFTER triggers, so the source row is changed and locked
--    when the outbox row gets its number. A second edit of the same row waits for the first one's commit and gets a
--    higher number: the order of the numbers is the order of the edits, and the reactor needs no other.
-- 2. Only what the calendar shows. A change that leaves the event as it was enqueues nothing, whichever columns it
--    touched.
-- 3. Whoever may edit a task needs no right on the outbox. The trigger's function runs with its owner's rights; so nobody
--    else can write there, and least of all a payload for another workspace.

-- The payload's part that says what the event looks like: camelCase, fields without a value left out.
create function public.calendar_event_json(event public.calendar_event)
returns jsonb
language sql
immutable
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'title', event.title,
    'description', event.description,
    'location', event.location,
    -- A whole day is a date and has no zone. A time is an instant, written in UTC whatever the session's zone is.
    'start', case when event.is_all_day then to_jsonb((event.start_at at time zone 'UTC')::date)
                  else to_jsonb(to_char(event.start_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) end,
    'end', case when event.is_all_day then to_jsonb((event.end_at at time zone 'UTC')::date)
                else to_jsonb(to_char(event.end_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) end,
    'isAllDay', event.is_all_day,
    'recurrence', to_jsonb(event.recurrence),
    'colorId', event.color_id,
    'timeZone', event.time_zone
  ))
$$;

-- A workspace without a connection has no calendar, and nothing is enqueued for it. When it is connected later, or gets
-- another calendar, insert one REBUILD_ALL: the reactor then reads calendar_source_events. A workspace that is being
-- deleted takes its outbox with it, so nothing is enqueued for that either; empty its calendar before, if that is meant.
create function public.enqueue_calendar_event(
  workspace uuid, source_type text, source_id uuid, event public.calendar_event
)
returns void
language sql
as $$
  insert into public.sync_outbox (workspace_id, operation, payload)
  select connection.workspace_id,
         wanted.operation,
         jsonb_build_object(
           'operation', wanted.operation,
           'workspaceId', connection.workspace_id,
           'calendarId', connection.calendar_id,
           'sourceType', source_type,
           'sourceId', source_id
         )
         || case wanted.operation
              when 'UPSERT_EVENT' then
                jsonb_build_object('eventType', event.event_type, 'event', public.calendar_event_json(event))
              else '{}'
            end
    from public.google_connections as connection
    join public.workspaces on workspaces.id = connection.workspace_id
   cross join lateral (
     select (case when event is null then 'CANCEL_EVENT' else 'UPSERT_EVENT' end)::public.outbox_operation
   ) as wanted (operation)
   where connection.workspace_id = workspace
$$;

revoke execute on function public.enqueue_calendar_event(uuid, text, uuid, public.calendar_event) from public;

-- One function for all four tables. PL/pgSQL compiles it once per table, so `calendar_event_of` is each table's own.
-- `event is null` is true where all of its fields are: that is how a composite says "no event".
create function public.enqueue_calendar_change()
returns trigger
language plpgsql
security definer
set search_path = public, pg_temp
as $$
declare
  source_type constant text := tg_argv[0];
  before public.calendar_event := public.calendar_event_of(old);
  after public.calendar_event := public.calendar_event_of(new);
begin
  if tg_op = 'UPDATE' and (old.workspace_id, old.id) is distinct from (new.workspace_id, new.id) then
    -- It moved to another workspace: there it is new, here it is gone.
    if not before is null then
      perform public.enqueue_calendar_event(old.workspace_id, source_type, old.id, null);
    end if;
    if not after is null then
      perform public.enqueue_calendar_event(new.workspace_id, source_type, new.id, after);
    end if;
  elsif before is null and after is null or before is not distinct from after then
    null;  -- the calendar shows the same as before
  elsif tg_op = 'DELETE' then
    perform public.enqueue_calendar_event(old.workspace_id, source_type, old.id, null);
  else
    perform public.enqueue_calendar_event(new.workspace_id, source_type, new.id, after);
  end if;
  return null;
end $$;

create trigger tasks_to_calendar after insert or update or delete on public.tasks
  for each row execute function public.enqueue_calendar_change('task');

create trigger milestones_to_calendar after insert or update or delete on public.milestones
  for each row execute function public.enqueue_calendar_change('milestone');

create trigger gate_runs_to_calendar after insert or update or delete on public.gate_runs
  for each row execute function public.enqueue_calendar_change('gate_run');

create trigger project_reviews_to_calendar after insert or update or delete on public.project_reviews
  for each row execute function public.enqueue_calendar_change('project_review');
