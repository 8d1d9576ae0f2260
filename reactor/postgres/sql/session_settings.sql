-- What every session of ours sets before its first statement.

-- name: settings
-- Values for names, whatever the role, the database or the client's environment says. By SET and not at the start-up:
-- poolers refuse start-up options. What this server does not know (some came with 14, 15 and 17) is left out; asked by
-- name, because reading pg_settings takes a millisecond and more, and a role's statement_timeout may be as short.
--
-- isolation:           the claim's function argues with a snapshot for each of its statements.
-- read only:           a session may begin while a database stops its writers, and outlives that by weeks.
-- time zone, styles,
-- encoding, bytea:     texts become the same moments and the same bytes everywhere. A database without an encoding stores
--                      any bytes as text, and would refuse to send those that are not UTF-8: it sends them as they are.
-- row_security:        what the policies hide is left out; off, it is an error.
-- search_path:         our statements name their schemas, and what has none is pg_catalog's, which therefore has to come
--                      first, as it does where it is not named. The rest of the path stays, because the application's
--                      triggers and functions run in our sessions and may rely on it; public is added where it is
--                      missing, as they may rely on that as well. A migration has public first: what records them asks
--                      for the current schema.
-- look-ups:            a session that claims or settles keeps its plans, as to make one takes longer than what is planned.
--                      One that was made while the tables were empty must be right when they are full: it finds rows by
--                      index, one after the other. (Seen: a table of 30,000 rows read from end to end after each settle.)
--                      Until PostgreSQL 17 what is switched off is so expensive on paper that it would be compiled first.
-- time-outs:           the caller's, and none that ends a session for sleeping: it sleeps on purpose. In a transaction it
--                      never does.
-- (A string with a backslash is written E'...': standard_conforming_strings may still be off.)
-- tcp:                 both ends have to notice a dead peer (reactor/postgres/connection/session.py).
select pg_catalog.pg_is_in_recovery(), pg_catalog.count(pg_catalog.set_config(wanted.name, wanted.value, false))
  from (values ('statement_timeout', %(statement)s),
               ('lock_timeout', %(lock)s),
               ('idle_in_transaction_session_timeout', %(idle_in_transaction)s),
               ('idle_session_timeout', '0'),
               ('transaction_timeout', '0'),
               ('application_name', %(name)s),
               ('default_transaction_isolation', 'read committed'),
               ('default_transaction_read_only', 'off'),
               ('default_transaction_deferrable', 'off'),
               ('TimeZone', 'UTC'),
               ('DateStyle', 'ISO, YMD'),
               ('IntervalStyle', 'postgres'),
               ('client_encoding', case pg_catalog.current_setting('server_encoding')
                                     when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end),
               ('bytea_output', 'hex'),
               ('extra_float_digits', '1'),
               ('standard_conforming_strings', 'on'),
               ('transform_null_equals', 'off'),
               ('array_nulls', 'on'),
               ('row_security', 'on'),
               ('search_path', (
                 select pg_catalog.concat_ws(', ',
                          case when %(public_first)s and own.path !~ E'^public\\M' then 'public' end,
                          nullif(own.path, ''),
                          case when not %(public_first)s and own.path !~ E'\\mpublic\\M' then 'public' end)
                   from (select pg_catalog.ltrim(pg_catalog.regexp_replace(
                           pg_catalog.current_setting('search_path'), E'(^|,)\\s*"?pg_catalog"?\\s*(?=,|$)', '', 'g'),
                         ', ')) as own (path))),
               ('tcp_keepalives_idle', '10'),
               ('tcp_keepalives_interval', '3'),
               ('tcp_keepalives_count', '3'),
               ('tcp_user_timeout', '15s'),
               ('plan_cache_mode', case when %(look_ups)s then 'force_generic_plan' end),
               ('enable_seqscan', case when %(look_ups)s then 'off' end),
               ('enable_bitmapscan', case when %(look_ups)s then 'off' end),
               ('enable_hashjoin', case when %(look_ups)s then 'off' end),
               ('enable_mergejoin', case when %(look_ups)s then 'off' end),
               ('jit', case when %(look_ups)s then 'off' end)) as wanted (name, value)
 where wanted.value is not null and pg_catalog.current_setting(wanted.name, true) is not null;

-- name: notice_gone_clients
-- A backend that works for a client that has gone stops within a second. Not every platform's server can do that.
set client_connection_check_interval = '1s';
