"""Gold's aggregate by DuckDB from silver's live files: `duckdb_replay.py SILVER OUT`. Two threads, as the machine has.

Minutes are computed on microseconds, because DuckDB truncates instants only with an extension that is not in its package.
"""

import sys

import duckdb
from deltalake import DeltaTable

QUERY = """
copy (
    select campaign_id, network_id, make_timestamp(epoch_us(end_timestamp) // 60000000 * 60000000) as minute_timestamp,
        cast(sum(epoch_us(end_timestamp) - epoch_us(start_timestamp)) as double) / (1000000.0 * count(*)) as avg_duration,
        cast(count(*) as int) as total_count
    from read_parquet(?)
    group by all
) to '{out}' (format parquet, compression zstd)
"""


def main(silver, out):
    session = duckdb.connect(config={"threads": 2})
    session.execute(QUERY.format(out=out.replace("'", "''")), [DeltaTable(silver).file_uris()])


if __name__ == "__main__":
    main(*sys.argv[1:])
