"""Makes a gold table old: the log of many days of minutes, as medallion's own commits and maintenance would have left it, and its data files.

Runs as a process of its own (`synthetic.py TABLE LAYOUT DAYS FILE_DAYS`), so that what measures stays small.
"""

import collections
import csv
import datetime
import io
import json
import os
import pathlib
import sys
import uuid

import pyarrow
import pyarrow.parquet

# The day after the last synthetic one: the project's real events begin there.
END = datetime.date(2024, 1, 1)
MINUTES = 24 * 60
VIEWS = 12
# File systems bound how many names a file may have (ext4: 65,000).
NAMES_MAX = 60_000
UTC = datetime.timezone.utc


def campaigns(project):
    """Campaigns by network, as the project's reference data has them."""
    networks = collections.defaultdict(list)
    with open(project / "data/campaigns.csv", newline="") as file:
        for row in csv.DictReader(file):
            networks[int(row["network_id"])].append(int(row["campaign_id"]))
    return networks


def days(count):
    """The last `count` days before END, the oldest first."""
    return [END - datetime.timedelta(days=back) for back in range(count, 0, -1)]


def minutes_of(day):
    """The beginnings of its minutes."""
    midnight = datetime.datetime.combine(day, datetime.time(), UTC)
    return [midnight + datetime.timedelta(minutes=minute) for minute in range(MINUTES)]


class Files:
    """Data files of a table. Those with the same bytes are one file with many names."""

    def __init__(self, table):
        self.table = table
        self.known = {}

    def of(self, network, moments):
        """The file of a network's rows: its bytes, a name it has, how many it has, its statistics. Made once where no moment is in it."""
        key = None if moments else tuple(network)
        if key in self.known:
            return self.known[key]
        bytes_ = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns_of(network, moments)), bytes_, compression="zstd")
        file = [bytes_.getvalue(), None, 0, statistics(network, moments)]
        if key:
            self.known[key] = file
        return file

    def put(self, path, file):
        """Gives the file a name on disk."""
        path = self.table / path
        path.parent.mkdir(parents=True, exist_ok=True)
        bytes_, first, names, _ = file
        if first is None or names >= NAMES_MAX:
            path.write_bytes(bytes_)
            file[1:3] = [path, 1]
        else:
            os.link(first, path)
            file[2] += 1


def columns_of(network, moments):
    """The columns of a network's rows: one per moment and campaign; without the moment for a partition of one."""
    rows = len(network) * max(1, len(moments))
    columns = {"campaign_id": pyarrow.array(network * max(1, len(moments)), pyarrow.int32())}
    if moments:
        times = [moment for moment in moments for _ in network]
        columns["minute_timestamp"] = pyarrow.array(times, pyarrow.timestamp("us", "UTC"))
    columns["avg_duration"] = pyarrow.array([30.0] * rows, pyarrow.float64())
    columns["total_count"] = pyarrow.array([VIEWS] * rows, pyarrow.int32())
    return columns


def statistics(network, moments):
    """What medallion says of such a file in its log."""
    low, high = ({"campaign_id": campaign, "total_count": VIEWS} for campaign in (min(network), max(network)))
    nulls = {"avg_duration": 0, "campaign_id": 0, "total_count": 0}
    if moments:
        low["minute_timestamp"], high["minute_timestamp"] = stamp(moments[0]), stamp(moments[-1])
        nulls["minute_timestamp"] = 0
    rows = len(network) * max(1, len(moments))
    return json.dumps({"maxValues": high, "minValues": low, "nullCount": nulls, "numRecords": rows}, separators=(",", ":"))


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parts_by_minute(day, networks):
    """A partition per network and minute: partition values, and the moments that are in the file."""
    for moment in minutes_of(day):
        for network in networks:
            yield {"network_id": str(network), "minute_timestamp": stamp(moment)}, []


def parts_by_date(day, networks):
    """A partition per network and date: what maintenance has compacted, but for the last day, which it still has before it."""
    moments = minutes_of(day)
    last = day == END - datetime.timedelta(days=1)
    for some in [[moment] for moment in moments] if last else [moments]:
        for network in networks:
            yield {"network_id": str(network), "date": str(day)}, some


LAYOUTS = {"minute": parts_by_minute, "date": parts_by_date}


def adds_of(day, parts, networks, files, exist):
    """The log's lines for a day, and its rows."""
    lines, rows = [], 0
    modified = int(datetime.datetime.combine(day, datetime.time(), UTC).timestamp() * 1000)
    for values, moments in parts(day, networks):
        network = networks[int(values["network_id"])]
        file = files.of(network, moments)
        # Hive escapes a colon in a directory's name, and the log escapes the name.
        name = "/".join(f"{key}={value.replace(':', '%3A')}" for key, value in values.items())
        name = f"{name}/part-{uuid.uuid4().hex}.zstd.parquet"
        if exist:
            files.put(name, file)
        add = {
            "path": name.replace("%", "%25"),
            "partitionValues": values,
            "size": len(file[0]),
            "modificationTime": modified,
            "dataChange": True,
            "stats": file[3],
        }
        lines.append(json.dumps({"add": add}, separators=(",", ":")))
        rows += len(network) * max(1, len(moments))
    return lines, rows


def main():
    table, layout = pathlib.Path(sys.argv[1]), sys.argv[2]
    count, with_files = int(sys.argv[3]), int(sys.argv[4])
    project = table.parents[4]
    networks = campaigns(project)
    log = table / "_delta_log"
    version = max(int(entry.stem) for entry in log.glob("*.json"))
    # Positions and state are those of the newest commit; only rows and files come.
    head = [json.loads(line) for line in (log / f"{version:020}.json").read_text().splitlines()]
    info = next(line for line in head if "commitInfo" in line)
    txns = [line for line in head if "txn" in line]
    files = Files(table)
    all_files = 0
    for number, day in enumerate(days(count)):
        exist = count - number <= with_files
        lines, rows = adds_of(day, LAYOUTS[layout], networks, files, exist)
        for line in txns:
            if line["txn"]["appId"].endswith("/rows"):
                line["txn"]["version"] += rows
        version += 1
        entry = [json.dumps(line, separators=(",", ":")) for line in [info, *txns]] + lines
        (log / f"{version:020}.json").write_text("\n".join(entry) + "\n")
        all_files += len(lines)
    print(json.dumps({"files": all_files, "version": version}))


if __name__ == "__main__":
    main()
