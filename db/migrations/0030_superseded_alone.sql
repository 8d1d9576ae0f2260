-- An outdated row whose trigger takes too long is found, and set aside like any other.
--
-- sync_outbox_supersede ends outdated rows in one UPDATE. Nobody can go on in a statement whose time is over, so where one
-- of them took the time the claim was refused without a word of which, again and again, and its workspace with it. Now
-- a claim that is made apart, after a refusal, has rows ended one by one, and the detail of the error says which was met, as
-- sync_outbox_take's does (0025_claim_items.sql). The caller asks for it by a setting of its transaction; who does not
-- know it, a replica of an older release, has what it had. Name, arguments and result are the same.
create or replace function public.sync_outbox_supersede(ids uuid[])
returns integer
language plpgsql
set lock_timeout = '50ms'
as $$
declare
  each_id uuid;
  ended integer;
  state text;
  broken text;
begin
  if current_setting('calendar_sync.apart', true) is distinct from 'on' then
    begin
      with changed as (
        update public.sync_outbox as o
           set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
         where o.id = any (ids)
        returning o.status
      )
      select count(*) into ended from changed as c where c.status::text = 'COMPLETED';
      if ended = cardinality(ids) then return ended; end if;
      raise no_data_found;
    exception when assert_failure or others then
      null;
    end;
  end if;
  ended := 0;
  update public.sync_outbox as o
     set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
   where false;
  foreach each_id in array ids loop
    begin
      update public.sync_outbox as o
         set status = 'COMPLETED', processed_at = clock_timestamp(), failure_code = 'SUPERSEDED', last_error = null
       where o.id = each_id
      returning o.status::text into state;
      if state is distinct from 'COMPLETED' then raise no_data_found; end if;
      ended := ended + 1;
    exception
      when query_canceled then raise query_canceled using detail = each_id;
      when assert_failure or others then
        get stacked diagnostics state = returned_sqlstate, broken = constraint_name;
        perform public.sync_outbox_set_aside(each_id, state, broken);
        if state = '55P03' then perform set_config('lock_timeout', '2ms', true); end if;
    end;
  end loop;
  return ended;
end $$;
