-- Everything that the catalogue says about the schema public, as lines of text that two databases can be compared by.
-- Left out: what belongs to the tool that applied it (yoyo's tables).
with tables as (
  select c.oid::regclass::text as name, c.*
    from pg_class as c
   where c.relnamespace = 'public'::regnamespace and c.relname !~ '^_?yoyo'
)
select format('%s %s %s rls=%s/%s %s', relkind, name, reloptions, relrowsecurity, relforcerowsecurity, relacl)
  from tables where relkind in ('r', 'S', 'v')
union all
select format('column %s.%s %s null=%s default=%s', t.name, attname, format_type(atttypid, atttypmod), not attnotnull,
              pg_get_expr(adbin, adrelid))
  from tables as t
  join pg_attribute as a on a.attrelid = t.oid and attnum > 0 and not attisdropped and relkind = 'r'
  left join pg_attrdef as d on adrelid = attrelid and adnum = attnum
union all
select format('constraint %s %s %s', t.name, conname, pg_get_constraintdef(o.oid))
  from tables as t join pg_constraint as o on conrelid = t.oid and contype <> 'n'
union all
select format('%s valid=%s', pg_get_indexdef(indexrelid), indisvalid) from tables as t join pg_index on indrelid = t.oid
union all
select format('%s enabled=%s comment=%s', pg_get_triggerdef(g.oid), tgenabled, obj_description(g.oid, 'pg_trigger'))
  from tables as t join pg_trigger as g on tgrelid = t.oid and not tgisinternal
union all
select format('policy %s %s %s %s %s %s', t.name, polname, polcmd, polroles::regrole[], pg_get_expr(polqual, t.oid),
              pg_get_expr(polwithcheck, t.oid))
  from tables as t join pg_policy on polrelid = t.oid
union all
select format('%s %s', pg_get_functiondef(oid), proacl) from pg_proc
 where pronamespace = 'public'::regnamespace
union all
select format('enum %s %s', enumtypid::regtype, array_agg(enumlabel order by enumsortorder)) from pg_enum group by enumtypid
union all
select format('sequence %s start=%s by=%s cache=%s owner=%s', seqrelid::regclass, seqstart, seqincrement, seqcache,
              (select format('%s %s', refobjid::regclass, refobjsubid) from pg_depend where objid = seqrelid and deptype = 'a'))
  from pg_sequence
 order by 1
