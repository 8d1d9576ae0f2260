-- What keeps updated_at (and a binding's version) on tables that we create. Tables that were there before have triggers
-- of their own and keep them.
create or replace function public.sync_touch()
returns trigger
language plpgsql
as $$
begin
  new.updated_at := now();
  return new;
end $$;

create or replace function public.sync_touch_version()
returns trigger
language plpgsql
as $$
begin
  new.sync_version := old.sync_version + 1;
  new.updated_at := now();
  return new;
end $$;
