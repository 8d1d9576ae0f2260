-- The three enums of the contract. One that exists is kept; one that lacks a value of ours is refused here, with its
-- name, and not later in the middle of a claim.
do $$
declare
  wanted record;
  found text[];
begin
  for wanted in
    select * from (values
      ('outbox_operation', array['UPSERT_EVENT', 'CANCEL_EVENT', 'REBUILD_ALL']),
      ('outbox_status', array['PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'DEAD_LETTER']),
      ('calendar_event_type', array['GATE_REVIEW', 'BLOCKER_DEADLINE', 'MILESTONE', 'PROJECT_REVIEW'])
    ) as t (name, labels)
  loop
    if to_regtype('public.' || wanted.name) is null then
      execute format(
        'create type public.%I as enum (%s)',
        wanted.name,
        (select string_agg(quote_literal(label), ', ' order by place)
           from unnest(wanted.labels) with ordinality as l (label, place))
      );
    end if;
    select array_agg(enumlabel::text) into found
      from pg_catalog.pg_enum
     where enumtypid = to_regtype('public.' || wanted.name);
    if found is null or not found @> wanted.labels then
      raise exception 'public.% exists but has not all of the values %', wanted.name, wanted.labels;
    end if;
  end loop;
end $$;
