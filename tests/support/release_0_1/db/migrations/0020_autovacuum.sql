-- A queue's dead rows must go at a pace set by their number, not by the size of the history: with the default of 20 %,
-- ten million finished rows would wait for two million dead ones, and the small indexes over open rows, which every
-- claim walks, would be mostly dead entries. Without the pauses a run over 600,000 dead rows took 0.6 s.
-- This lock lets readers and writers pass.
alter table public.sync_outbox set (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 50000
);
