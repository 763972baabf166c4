use super::*;

type Row = (String, i64, Vec<u8>);

struct Fixture {
    dir: tempfile::TempDir,
    def: definition::FileSource,
}

impl Fixture {
    fn new(patterns: &[&str], files: &[(&str, &str)]) -> Self {
        let fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            def: definition::FileSource {
                paths: patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            },
        };
        for (name, content) in files {
            fixture.write(name, content);
        }
        fixture
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn open(&self, start: &Positions) -> Result<Box<dyn Source>> {
        FileSource::open("p", self.dir.path(), &self.def, start)
    }
}

fn drain(source: &mut dyn Source, max: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let mut take = |record: Record<'_>| {
            assert_eq!((record.key, record.timestamp, record.partition), (None, None, 0));
            rows.push((record.topic.to_owned(), record.offset, record.value.unwrap().to_vec()));
        };
        if source.poll(Duration::ZERO, max, &mut take).unwrap() == 0 {
            return rows;
        }
    }
}

fn row(topic: &str, offset: i64, value: &str) -> Row {
    (topic.to_owned(), offset, value.as_bytes().to_vec())
}

#[test]
fn files_come_in_sorted_order_whole_whatever_the_size_of_a_poll() {
    let fixture = Fixture::new(
        &["in/*.ndjson", "extra.ndjson"],
        &[
            ("in/b.ndjson", "b0\nb1\n"),
            ("in/a.ndjson", "a0\n\na2"),
            ("extra.ndjson", "x\n"),
        ],
    );
    let expected = [
        row("extra.ndjson", 0, "x"),
        row("in/a.ndjson", 0, "a0"),
        row("in/a.ndjson", 1, ""),
        row("in/a.ndjson", 2, "a2"),
        row("in/b.ndjson", 0, "b0"),
        row("in/b.ndjson", 1, "b1"),
    ];
    for max in [1, 2, 4, 100] {
        let mut source = fixture.open(&Positions::new()).unwrap();
        assert_eq!(drain(source.as_mut(), max), expected, "polls of {max}");
        assert_eq!(source.positions(), source.ends().unwrap());
    }
}

#[test]
fn reading_goes_on_at_the_position_and_takes_what_was_appended() {
    let fixture = Fixture::new(&["a.ndjson"], &[("a.ndjson", "0\n1\n2\n")]);
    let start = [(PartitionId::new("a.ndjson", 0), 2)].into();
    let mut source = fixture.open(&start).unwrap();
    assert_eq!(drain(source.as_mut(), 10), [row("a.ndjson", 2, "2")]);

    fixture.write("a.ndjson", "0\n1\n2\n3\n4\n");
    assert_eq!(source.ends().unwrap()[&PartitionId::new("a.ndjson", 0)], 5);
    assert_eq!(
        drain(source.as_mut(), 10),
        [row("a.ndjson", 3, "3"), row("a.ndjson", 4, "4")]
    );
}

#[test]
fn a_file_that_shrank_is_a_loss_and_one_that_is_gone_is_none() {
    let fixture = Fixture::new(&["*.ndjson"], &[("a.ndjson", "0\n"), ("b.ndjson", "0\n")]);
    let at = |offset| {
        Positions::from([
            (PartitionId::new("a.ndjson", 0), offset),
            (PartitionId::new("gone", 0), 7),
        ])
    };
    assert!(fixture.open(&at(1)).is_ok());
    let error = fixture.open(&at(2)).err().unwrap();
    assert_eq!(error.kind(), Kind::DataLoss);
    assert!(error.to_string().contains("a.ndjson/0 ends before offset 2"), "{error}");
    assert!(error.to_string().contains("accept-gap -p p"), "{error}");
}

#[test]
fn new_files_are_discovered_once() {
    let fixture = Fixture::new(&["*.ndjson"], &[("a.ndjson", "0\n")]);
    let mut source = fixture.open(&Positions::new()).unwrap();
    drain(source.as_mut(), 10);
    fixture.write("b.ndjson", "1\n");
    assert_eq!(source.discover().unwrap(), [PartitionId::new("b.ndjson", 0)]);
    assert_eq!(source.discover().unwrap(), []);
    assert_eq!(drain(source.as_mut(), 10), [row("b.ndjson", 0, "1")]);
}

#[test]
fn a_pattern_without_a_match_is_named() {
    let fixture = Fixture::new(&["a.ndjson", "no/*.gz"], &[("a.ndjson", "0\n")]);
    let error = fixture.open(&Positions::new()).err().unwrap();
    assert!(error.to_string().contains("no file matches `no/*.gz`"), "{error}");
}

#[test]
fn a_damaged_file_gives_its_lines_first_and_its_end_is_never_reached() {
    let fixture = Fixture::new(&["a.zst"], &[]);
    let lines: String = (0..200_000).map(|n| format!("{}\n", n * 7919 % 1_000_003)).collect();
    let packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    fs::write(fixture.dir.path().join("a.zst"), &packed[..packed.len() / 2]).unwrap();

    let mut source = fixture.open(&Positions::new()).unwrap();
    let mut count = 0;
    let error = loop {
        match source.poll(Duration::ZERO, 1000, &mut |_| count += 1) {
            Ok(more) => assert!(more > 0, "the end was reached after {count} lines"),
            Err(error) => break error,
        }
    };
    assert!(count > 1000);
    assert_eq!(error.kind(), Kind::Damaged);
    let id = PartitionId::new("a.zst", 0);
    assert_eq!(source.positions()[&id], count);
    assert!(source.ends().unwrap()[&id] > count);
}

#[test]
fn the_fingerprint_of_a_line_is_that_of_its_record() {
    let fixture = Fixture::new(&["a.ndjson"], &[("a.ndjson", "0\n1\n")]);
    let id = PartitionId::new("a.ndjson", 0);
    let read = |offset| FileSource::read_one(fixture.dir.path(), &id, offset).unwrap();
    let mut digests = Vec::new();
    let mut source = fixture.open(&Positions::new()).unwrap();
    source
        .poll(Duration::ZERO, 10, &mut |record| {
            digests.push(RecordDigest::of(&record))
        })
        .unwrap();
    assert_eq!(read(1).as_ref(), Some(&digests[1]));
    assert_ne!(digests[0], digests[1]);
    assert_eq!(read(2), None);
}
