"""What the parts of a process share: signals, threads, errors of concurrent tasks, tasks that are restarted."""
