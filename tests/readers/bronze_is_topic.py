"""Proves that bronze is the topic: every record of a topic, as Kafka's own console consumer printed it, is one row of bronze.

    bronze_is_topic.py LAKE PIPELINE FILE...

Each FILE holds one partition as `Partition:P<tab>Offset:O<tab>KEY<tab>VALUE` in the order of its offsets, with keys and values
in the notation of Kafka's Bytes: printable ASCII but the backslash as it is, every other byte as \\xNN. Both sides are read in that
order, so that a topic of any length fits in memory. Exit 1 and the first difference if they differ.
"""

import re
import sys

import duckdb
from deltalake import DeltaTable

ABSENT = r"\x5CN"
LINE = re.compile(r"Partition:(\d+)\tOffset:(\d+)\t(.*)\t(.*)\Z", re.DOTALL)
SHOWN = {byte: chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x5C else f"\\x{byte:02X}" for byte in range(256)}


def shown(value):
    return ABSENT if value is None else "".join(map(SHOWN.__getitem__, value))


def printed(path):
    with open(path, encoding="ascii", newline="\n") as file:
        for line in file:
            found = LINE.match(line.rstrip("\n"))
            if not found:
                sys.exit(f"{path}: not a line of the console consumer: {line!r}")
            yield int(found[1]), int(found[2]), found[3], found[4]


def rows(connection, partition):
    found = connection.execute(
        'select "offset", key, value from bronze where kind = \'record\' and "partition" = ? order by "offset"', [partition]
    )
    while batch := found.fetchmany(10_000):
        for offset, key, value in batch:
            yield partition, offset, shown(key), shown(value)


def main():
    lake, pipeline, *files = sys.argv[1:]
    connection = duckdb.connect()
    connection.register("bronze", DeltaTable(f"{lake}/{pipeline}/bronze").to_pyarrow_dataset())
    total = 0
    for path in files:
        topic = printed(path)
        first = next(topic, None)
        if first is None:
            sys.exit(f"{path} is empty: nothing is proven")
        bronze = rows(connection, first[0])
        wanted = first
        while wanted is not None:
            row = next(bronze, None)
            if row != wanted:
                sys.exit(f"bronze is not the topic\n  the topic has {wanted}\n  bronze has    {row}")
            total += 1
            wanted = next(topic, None)
        extra = next(bronze, None)
        if extra is not None:
            sys.exit(f"bronze has what the topic has not: {extra}")
    held = connection.execute("select count(*) from bronze where kind = 'record'").fetchone()[0]
    if held != total:
        sys.exit(f"bronze has {held} records, the topic {total}")
    print(f"bronze is the topic: {total} records of {len(files)} partitions, by offset, key and value")


if __name__ == "__main__":
    main()
