"""Cost & tables: how large the tables are and become, and what a row costs in CPU, bytes and memory."""

from model import GREEN, ORANGE, RED, Query, board, graph, row, stat, thresholds

# Every program exports process_*: these are those of medallion.
OURS = "and on (job, instance) medallion_build_info"
WEEK = 7 * 86400

NOW = row(
    "Now",
    stat(
        "Tables and logs",
        "bytes",
        """Bytes that the tables' current versions and their logs hold. Files that compaction has replaced are not counted
        and lie there until `medallion maintain` removes them.""",
        Query(
            "sum by (pipeline) (medallion_table_bytes{$P}) + sum by (pipeline) (medallion_table_log_bytes{$P})",
            "{{pipeline}}",
        ),
        width=5,
    ),
    stat(
        "Files",
        "short",
        """Data files of all tables. Tens of thousands make readers slow to open them: run `medallion maintain`.""",
        Query("sum by (pipeline) (medallion_table_files{$P})", "{{pipeline}}"),
        width=4,
        steps=thresholds(GREEN, (10_000, ORANGE), (100_000, RED)),
    ),
    stat(
        "CPU",
        "short",
        """Cores that each process uses. At the number of cores it has, layers fall behind: see the cost per row below.""",
        Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}", "{{instance}}"),
        width=4,
    ),
    stat(
        "Memory",
        "bytes",
        """Resident memory of each process. It is bounded by `memory` in medallion.toml plus state: known keys, reference
        data, open windows.""",
        Query(f"process_resident_memory_bytes {OURS}", "{{instance}}"),
        width=4,
    ),
    stat(
        "Running for",
        "s",
        """Age of each process. One that keeps being young is restarted again and again: docs/runbook.md#medallionrestarts.""",
        Query(f"(time() - process_start_time_seconds) {OURS}", "{{instance}}"),
        width=4,
    ),
    stat(
        "Version",
        "none",
        """Processes by version. Two versions for long: an update that did not reach every host.""",
        Query("count by (version) (medallion_build_info)", "{{version}}"),
        width=3,
    ),
)

TABLES = row(
    "Tables",
    graph(
        "Bytes",
        "bytes",
        """Size of each table's current version. Bronze keeps every record for ever; which table grows is what to look at
        when DiskGrowth fires: docs/runbook.md#diskgrowth.""",
        Query("medallion_table_bytes{$P}", "{{pipeline}} {{table}}"),
        stack=True,
    ),
    graph(
        "Growth",
        "Bps",
        """Bytes a second by which each table has grown over the last half hour. Negative after a compaction.""",
        Query("deriv(medallion_table_bytes{$P}[30m])", "{{pipeline}} {{table}}"),
        least=None,
    ),
    graph(
        "Expected in a week",
        "bytes",
        """Data and log in seven days if it goes on as in the last six hours; the line is where DiskGrowth fires. Far too
        high while a backlog is read: docs/runbook.md#diskgrowth.""",
        Query(
            f"""sum by (pipeline) (predict_linear(medallion_table_bytes{{$P}}[6h], {WEEK}))
            + sum by (pipeline) (predict_linear(medallion_table_log_bytes{{$P}}[6h], {WEEK}))""",
            "{{pipeline}}",
        ),
        steps=thresholds(GREEN, (500e9, RED)),
    ),
    graph(
        "Rows",
        "short",
        """Rows of each table. Bronze has silver's and the rejects' rows together, plus its ticks.""",
        Query("medallion_table_rows{$P}", "{{pipeline}} {{table}}"),
    ),
    graph(
        "Files",
        "short",
        """Data files of each table. A steady climb: nobody compacts it; run `medallion maintain`, or commit less often.""",
        Query("medallion_table_files{$P}", "{{pipeline}} {{table}}"),
    ),
    graph(
        "Size of a file",
        "bytes",
        """Mean bytes of a data file. Far below a megabyte, readers spend their time opening files: `medallion maintain`
        makes them large.""",
        Query("medallion_table_bytes{$P} / clamp_min(medallion_table_files{$P}, 1)", "{{pipeline}} {{table}}"),
    ),
    graph(
        "Log bytes",
        "bytes",
        """Size of each table's log. `medallion maintain` removes entries that a checkpoint covers; it shows here once the
        table is opened anew. A climb over weeks means that nobody runs it.""",
        Query("medallion_table_log_bytes{$P}", "{{pipeline}} {{table}}"),
    ),
    graph(
        "Since maintenance",
        "s",
        """Time since each table was maintained, by a run or by `medallion maintain`. Far above the declared maintain.every:
        look into the log for why it fails, or whether it is off.""",
        Query("time() - medallion_maintained_timestamp_seconds{$P}", "{{pipeline}} {{table}}"),
    ),
    graph(
        "Failed maintenance",
        "short",
        """Maintenance passes that failed. Each is tried again; a table that goes on failing grows without end:
        the log says why.""",
        Query("increase(medallion_maintenance_failures_total{$P}[$__rate_interval])", "{{pipeline}}"),
    ),
    graph(
        "Bytes a row",
        "bytes",
        """Mean bytes that a row takes on disk. A jump: events became larger, or many small files compress badly.""",
        Query("medallion_table_bytes{$P} / clamp_min(medallion_table_rows{$P}, 1)", "{{pipeline}} {{table}}"),
    ),
)

WORK = row(
    "Work",
    graph(
        "CPU time a row",
        "ns",
        """CPU time of a layer's thread for each row it reads. It rises where steps are small, rules are dear or a table's
        history is long. Empty while no rows come.""",
        Query(
            """1e9 * sum by (pipeline, layer) (rate(medallion_step_cpu_seconds_sum{$L}[$__rate_interval]))
            / (sum by (pipeline, layer) (rate(medallion_input_rows_total{$L}[$__rate_interval])) > 0)""",
            "{{pipeline}} {{layer}}",
        ),
    ),
    graph(
        "CPU by layer",
        "short",
        """Cores that each layer's thread uses; 1 is all it can. A layer at 1 that lags is the narrow place.""",
        Query(
            "sum by (pipeline, layer) (rate(medallion_step_cpu_seconds_sum{$L}[$__rate_interval]))",
            "{{pipeline}} {{layer}}",
        ),
    ),
    graph(
        "Bytes read",
        "Bps",
        """Bytes a second that each layer takes in: payloads for bronze, rows in memory for the others.""",
        Query("sum by (pipeline, layer) (rate(medallion_input_bytes_total{$L}[$__rate_interval]))", "{{pipeline}} {{layer}}"),
    ),
    graph(
        "Bytes written",
        "Bps",
        """Bytes of data files a second that each layer commits.""",
        Query("sum by (pipeline, layer) (rate(medallion_output_bytes_total{$L}[$__rate_interval]))", "{{pipeline}} {{layer}}"),
    ),
    graph(
        "Bytes written a row",
        "bytes",
        """Bytes of data files for each row that a layer commits. High where commits are small: a file has some kilobytes
        before its first row. Empty while nothing is committed.""",
        Query(
            """sum by (pipeline, layer) (rate(medallion_output_bytes_total{$L}[$__rate_interval]))
            / (sum by (pipeline, layer) (rate(medallion_output_rows_total{$L}[$__rate_interval])) > 0)""",
            "{{pipeline}} {{layer}}",
        ),
    ),
    graph(
        "Process CPU",
        "short",
        """Cores of the whole process: layers, Kafka's client, writing files.""",
        Query(f"rate(process_cpu_seconds_total[$__rate_interval]) {OURS}", "{{instance}}"),
    ),
)

STATE = row(
    "State and process",
    graph(
        "Keys remembered",
        "short",
        """Keys by which silver knows duplicates. It grows for ever under `within = "forever"`; a duration bounds it.""",
        Query("medallion_dedupe_keys{$P}", "{{pipeline}}"),
        width=8,
    ),
    graph(
        "Memory of state",
        "bytes",
        """RAM that the remembered keys take, older ones with a few bytes each beside their files, and about what the open
        windows take. More than planned: a duration for `within`, or fewer columns in `group_by`.""",
        Query("medallion_dedupe_bytes{$P}", "{{pipeline}} keys"),
        Query("medallion_open_window_bytes{$P}", "{{pipeline}} {{table}} windows"),
        width=8,
    ),
    graph(
        "Open windows",
        "short",
        """Windows not yet closed and the groups in them. Growing windows: the watermark stands still. Growing groups: a
        column of `group_by` has more values than expected.""",
        Query("medallion_open_windows{$P}", "{{pipeline}} {{table}} windows"),
        Query("medallion_open_window_groups{$P}", "{{pipeline}} {{table}} groups"),
        width=8,
    ),
    graph(
        "Memory",
        "bytes",
        """Resident memory of each process over time. A climb that does not end: compare with the keys above.""",
        Query(f"process_resident_memory_bytes {OURS}", "{{instance}}"),
        width=8,
    ),
    graph(
        "Open files",
        "percentunit",
        """Open files of each process, of what it may open. Near 1: raise the limit (`ulimit -n`), or files leak.""",
        Query(f"process_open_fds / clamp_min(process_max_fds, 1) {OURS}", "{{instance}}"),
        width=8,
        steps=thresholds(GREEN, (0.8, RED)),
    ),
    graph(
        "Threads",
        "short",
        """Threads of each process: steady while it runs.""",
        Query(f"process_threads {OURS}", "{{instance}}"),
        width=8,
    ),
)

BOARD = board(
    "cost",
    "Cost & tables",
    "How large the tables are and become, and what a row costs in CPU, bytes and memory.",
    [NOW, TABLES, WORK, STATE],
    with_layer=True,
)
