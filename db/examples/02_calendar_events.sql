-- What the calendars should show, said once.
--
-- One function per table turns a row into the event that the calendar should show for it, or into null where it should
-- show none. Everything else follows from these functions: the view below is all of them together, and the triggers of
-- 03_enqueue.sql compare what they say of the row before and after a change. So "what is in the calendar" cannot mean
-- two things.
--
-- Each function looks at its row and at nothing else. That is what keeps the order right: two edits of one row wait for
-- each other, so the later one also enqueues later. If your event shows something of another table (the project's name
-- in the title, say), then a change there must update the rows it concerns, and not enqueue by itself.

create type public.calendar_event as (
  event_type public.calendar_event_type,
  title text,
  description text,
  location text,
  start_at timestamptz,  -- of a whole day: midnight UTC, so that no session's time zone moves it
  end_at timestamptz,    -- of whole days: the first midnight that is not covered
  is_all_day boolean,
  recurrence text[],
  color_id text,         -- of Google's palette of events: 5 banana, 9 blueberry, 10 basil, 11 tomato
  time_zone text
);

create function public.calendar_event_of(task public.tasks)
returns public.calendar_event
language sql
immutable
as $$
  select case when task.due_on is not null and not task.done then row(
    'BLOCKER_DEADLINE', 'Due: ' || task.title, task.description, null,
    task.due_on::timestamp at time zone 'UTC', (task.due_on + 1)::timestamp at time zone 'UTC', true,
    null, '11', null
  )::public.calendar_event end
$$;

create function public.calendar_event_of(milestone public.milestones)
returns public.calendar_event
language sql
immutable
as $$
  select case when not milestone.cancelled then row(
    'MILESTONE', milestone.title, milestone.description, null,
    milestone.reached_on::timestamp at time zone 'UTC', (milestone.reached_on + 1)::timestamp at time zone 'UTC', true,
    null, '10', null
  )::public.calendar_event end
$$;

create function public.calendar_event_of(gate public.gate_runs)
returns public.calendar_event
language sql
immutable
as $$
  select case when not gate.cancelled then row(
    'GATE_REVIEW', 'Gate: ' || gate.title, null, gate.location,
    gate.starts_at, gate.ends_at, false,
    null, '5', null
  )::public.calendar_event end
$$;

create function public.calendar_event_of(review public.project_reviews)
returns public.calendar_event
language sql
immutable
as $$
  select case when not review.cancelled then row(
    'PROJECT_REVIEW', review.title, review.description, null,
    review.starts_at, review.ends_at, false,
    review.recurrence, '9', review.time_zone
  )::public.calendar_event end
$$;

-- The whole current state, under the name and with the columns that the reactor looks for: a REBUILD_ALL makes the
-- calendar agree with it.
create view public.calendar_source_events as
select source.workspace_id, connection.calendar_id, source.source_type, source.source_id,
       source.event_type, source.title, source.description, source.location, source.start_at, source.end_at,
       source.is_all_day, source.recurrence, source.color_id, source.time_zone
  from (
    select 'task' as source_type, t.workspace_id, t.id as source_id, event.*
      from public.tasks as t, public.calendar_event_of(t) as event
    union all
    select 'milestone', m.workspace_id, m.id, event.*
      from public.milestones as m, public.calendar_event_of(m) as event
    union all
    select 'gate_run', g.workspace_id, g.id, event.*
      from public.gate_runs as g, public.calendar_event_of(g) as event
    union all
    select 'project_review', r.workspace_id, r.id, event.*
      from public.project_reviews as r, public.calendar_event_of(r) as event
  ) as source
  join public.google_connections as connection using (workspace_id)
 where source.event_type is not null;

-- The view reads with its owner's rights, so the reactor needs none on your tables, and everybody else must have none on
-- the view: on platforms that publish the schema over HTTP, revoke from their roles (anon, authenticated) as well.
revoke all on public.calendar_source_events from public;
grant select on public.calendar_source_events to calendar_sync_reactor;
