-- What each replica tells of itself once a minute while it works, and not at all while it is idle: the console's charts,
-- lanes and replicas, without a metrics server and without reaching a pod. reactor/core/pulse.py decides when.
--
--   replica     made anew with each process; host is the name of its machine, in Kubernetes of its pod
--   minute      by the replica's clock; pulsed_at is by the database's
--   lease_no    its claims session: the replica lives while a session holds that lease
--   settings    by name, without secrets; of the encryption keys the ids
--   rate        calls a second by its part of the project's quota; null where there is none
--   standings   lanes by what holds them back
--   lanes       the worst of them, twenty at most
--   counts      items claimed and how they ended, since the pulse before
--   waited      items by the seconds from insert to departure: {"0.5": 12, "inf": 1} is twelve up to half a second
--   done        completed items by the seconds from insert to completion, likewise
--   answers     Google's answers by code
--
-- One row a minute and replica; after 48 hours the statement that writes new ones deletes it. No texts, no tokens.
create table if not exists public.sync_pulses (
  minute timestamptz not null,
  replica uuid not null,
  pulsed_at timestamptz not null default clock_timestamp(),
  started_at timestamptz not null,
  host text not null,
  version text not null,
  settings jsonb not null,
  lease_no bigint,
  gate text not null,
  breaker text not null,
  in_flight_items integer not null,
  in_flight_requests integer not null,
  rate double precision,
  lag double precision not null,
  standings jsonb not null default '{}',
  lanes jsonb not null default '[]',
  counts jsonb not null default '{}',
  waited jsonb not null default '{}',
  done jsonb not null default '{}',
  answers jsonb not null default '{}',
  primary key (minute, replica)
);

-- The application has no business here: no policy but the reactor's (db/roles.sql).
alter table public.sync_pulses enable row level security;
