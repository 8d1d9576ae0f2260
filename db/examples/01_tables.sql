-- An example application: projects are planned in workspaces, and four kinds of things have a date that people want to
-- see in a calendar. Nothing here knows of the reactor. Your own tables take this one's place; what you copy is the idea
-- of the other two files.
--
-- Order in an empty database: this file, `python -m reactor migrate`, 02_calendar_events.sql, 03_enqueue.sql. Where
-- `workspaces` exists before the migration, the reactor's tables refer to it.
--
-- The texts are bounded here because they are bounded in a calendar: a row that the application accepts must not fail
-- minutes later, out of its sight.

create table public.workspaces (
  id uuid primary key default gen_random_uuid(),
  name text not null
);

-- A task has a deadline or none. Done, its deadline leaves the calendar; reopened, it comes back.
create table public.tasks (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references public.workspaces (id) on delete cascade,
  title text not null check (length(title) between 1 and 400),
  description text,
  due_on date,
  done boolean not null default false,
  assignee text  -- no calendar shows it
);

create table public.milestones (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references public.workspaces (id) on delete cascade,
  title text not null check (length(title) between 1 and 400),
  description text,
  reached_on date not null,
  cancelled boolean not null default false
);

-- A gate: a meeting at which somebody decides whether the project goes on.
create table public.gate_runs (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references public.workspaces (id) on delete cascade,
  title text not null check (length(title) between 1 and 400),
  location text,
  starts_at timestamptz not null,
  ends_at timestamptz not null check (ends_at > starts_at),
  cancelled boolean not null default false,
  decision text  -- no calendar shows it
);

-- A review, once or every so many weeks. It recurs at the same time of the clock on the wall, so it needs to know on
-- whose wall: `time_zone` is an IANA name.
create table public.project_reviews (
  id uuid primary key default gen_random_uuid(),
  workspace_id uuid not null references public.workspaces (id) on delete cascade,
  title text not null check (length(title) between 1 and 400),
  description text,
  starts_at timestamptz not null,
  ends_at timestamptz not null check (ends_at > starts_at),
  recurrence text[],  -- lines of RFC 5545, such as RRULE:FREQ=WEEKLY;COUNT=6
  time_zone text not null default 'UTC',
  cancelled boolean not null default false
);
