-- The reactor's rights: a group role without a login. Run again and again, after the migrations. Operators give it a
-- member: create role my_reactor login password '...' in role calendar_sync_reactor;
--
-- Row level security is on, and the reactor works for every workspace. It gets a policy on each of its eleven tables and
-- not BYPASSRLS: that attribute opens every table of the database it has a grant on, and until PostgreSQL 16 only a
-- superuser could give it, which a managed database's owner is not.
--
-- Creating a role needs CREATEROLE. Where the migrations run without it, somebody creates the role beforehand, and the
-- rest of this file works.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'calendar_sync_reactor') then
    create role calendar_sync_reactor nologin;
  end if;
exception
  when duplicate_object or unique_violation then null;  -- roles belong to all databases of a server: somebody was faster
end $$;

grant usage on schema public to calendar_sync_reactor;

-- insert: children of a rebuild; delete: retention.
grant select, insert, update, delete on public.sync_outbox to calendar_sync_reactor;
grant select, insert, update, delete on public.calendar_event_bindings to calendar_sync_reactor;
grant select, insert, update, delete on public.sync_sources to calendar_sync_reactor;

-- delete: when the workspace is gone; until then, what it was released for is remembered.
grant select, insert, update, delete on public.sync_brakes to calendar_sync_reactor;
grant select, insert, update, delete on public.sync_departures to calendar_sync_reactor;

-- What is refused, and then not any more.
grant select, insert, update, delete on public.sync_set_aside to calendar_sync_reactor;

-- What the order was moved over; a function with its owner's rights inserts there.
grant select, update on public.sync_order_gaps to calendar_sync_reactor;

-- delete: after 48 hours.
grant select, insert, update, delete on public.sync_pulses to calendar_sync_reactor;

-- insert: what the commands do; update: how far a run is; delete: retention.
grant select, insert, update, delete on public.sync_acts to calendar_sync_reactor;

-- update: that one was used or revoked; delete: retention.
grant select, insert, update, delete on public.sync_invitations to calendar_sync_reactor;

-- insert and update: tokens that Google rotates, is_valid, and the commands that add a connection.
grant select, insert, update on public.google_connections to calendar_sync_reactor;

grant usage on sequence public.sync_outbox_seq, public.sync_claim_no, public.sync_lease_no to calendar_sync_reactor;

grant execute on function
  public.try_lock_outbox_item(uuid),
  public.unlock_outbox_item(uuid),
  public.sync_source_key(jsonb, uuid),
  public.sync_outbox_legacy_seq(timestamptz),
  public.sync_outbox_cleanup_chunk(integer, integer),
  public.sync_lease_holders(),
  public.sync_item_holders(),
  public.sync_item_key(uuid),
  public.sync_outbox_set_aside(uuid, text, text),
  public.sync_outbox_take(uuid[], bigint),
  public.sync_outbox_supersede(uuid[]),
  public.sync_outbox_due_workspaces(),
  public.sync_outbox_claim_items(
    uuid[], text[], uuid, integer, uuid[], integer, integer, integer, integer, bigint, boolean, bigint, integer
  ),
  public.sync_outbox_last_place(),
  public.sync_outbox_seq_file(),
  public.sync_order_mend(text, bigint),
  public.sync_outbox_place_anew(uuid[]),
  public.sync_outbox_put_away(uuid[]),
  public.sync_outbox_order_by_age(uuid[]),
  public.sync_outbox_take_in_order(uuid[], bigint),
  public.sync_outbox_newest_gap(),
  public.sync_outbox_kin(uuid),
  public.sync_outbox_places_by_age(uuid, bigint),
  public.sync_outbox_place_at(uuid[], bigint[]),
  public.sync_outbox_move_up(uuid[], bigint[]),
  public.sync_outbox_claim_in_order(
    uuid[], text[], uuid, integer, uuid[], integer, integer, integer, integer, bigint, boolean, bigint, integer
  ),
  public.sync_outbox_ring_of_due(),
  public.sync_outbox_claim_rebuilds(uuid[], timestamptz, integer, bigint, boolean),
  public.sync_outbox_page(uuid[], uuid[], integer, timestamptz),
  public.sync_outbox_sources_of(uuid[], uuid[], text[]),
  public.sync_outbox_look_by_key(uuid[], text[], uuid[], integer, timestamptz, uuid[], text[]),
  public.sync_outbox_heads(uuid[], text[], bigint[], timestamptz, boolean),
  public.sync_outbox_fit(uuid[], uuid[], integer[], integer, boolean, integer[]),
  public.sync_outbox_reserve(uuid[], integer, bigint, integer, timestamptz),
  public.sync_outbox_outdated(uuid[], text[], integer, timestamptz),
  public.sync_outbox_claim_next(
    uuid[], text[], uuid, integer, uuid[], integer, integer, integer, integer, bigint, boolean, bigint, integer
  ),
  public.sync_outbox_ring(),
  public.sync_outbox_claim(
    uuid[], text[], uuid, integer, uuid[], integer, integer, integer, uuid[], integer
  ),
  public.cleanup_old_outbox_items(integer)
to calendar_sync_reactor;

-- One statement per table: each is a transaction of its own, and none holds the lock of one table while it waits for
-- another's. The lock excludes everybody for an instant, and is taken only where the policy is not there.
do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_outbox'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_outbox
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.calendar_event_bindings'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.calendar_event_bindings
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.google_connections'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.google_connections
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_sources'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_sources
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_brakes'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_brakes
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_set_aside'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_set_aside
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_departures'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_departures
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_order_gaps'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_order_gaps
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_pulses'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_pulses
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_acts'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_acts
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

do $$
begin
  perform set_config('lock_timeout', '2s', true);
  if not exists (
    select from pg_catalog.pg_policy
     where polrelid = 'public.sync_invitations'::regclass and polname = 'calendar_sync_reactor'
  ) then
    create policy calendar_sync_reactor on public.sync_invitations
      to calendar_sync_reactor using (true) with check (true);
  end if;
end $$;

-- The record of the migrations, for `migrate --check` and for readiness. Security on: on platforms that publish the
-- schema over HTTP, a table without it is everybody's to change. Other tools keep their record elsewhere.
do $$
begin
  if to_regclass('public._yoyo_migration') is null or exists (
    select from pg_catalog.pg_policy
     where polrelid = to_regclass('public._yoyo_migration') and polname = 'calendar_sync_reactor'
  ) then
    return;
  end if;
  alter table public._yoyo_log enable row level security;
  alter table public._yoyo_version enable row level security;
  alter table public._yoyo_migration enable row level security;
  grant select on public._yoyo_migration to calendar_sync_reactor;
  create policy calendar_sync_reactor on public._yoyo_migration
    for select to calendar_sync_reactor using (true);
end $$;
