//! The lines of one NDJSON file, plain, gzip or zstd, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Kind, Result};

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The longest line: a file without line ends must not fill the memory.
const LONGEST_LINE: u64 = 64 << 20;

/// Reads a file line by line. The first bytes say whether it is compressed; a name that ends in `.gz` or `.zst` must
/// keep that promise.
///
/// A line ends at `\n`; one `\r` before it belongs to the line end, every other byte to the line. An empty line is a
/// line. After the last `\n` comes no line; a last line without `\n` is one.
pub struct LineReader {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    /// Number of the next line, from 0.
    number: i64,
}

impl LineReader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where it cannot be read, [`Kind::Damaged`] where its name promises a compression that its
    /// bytes are not.
    pub fn open(path: &Path) -> Result<Self> {
        let input = decoder(path).map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => Kind::Damaged,
                _ => Kind::Unavailable,
            };
            Error::new(kind, format!("reading {}: {error}", path.display()))
        })?;
        Ok(Self {
            path: path.to_owned(),
            input,
            line: Vec::new(),
            number: 0,
        })
    }

    /// The number of the line that comes next, from 0.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The next line without its end; none at the end of the file.
    ///
    /// # Errors
    /// [`Kind::Damaged`] for a compressed file that is cut off or corrupt, and for a line of more than 64 MiB.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LONGEST_LINE);
        let read = limited.read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| broken(&self.path, self.number, &error))?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        } else if read as u64 == LONGEST_LINE {
            let message = format!("{} line {} is longer than 64 MiB", self.path.display(), self.number + 1);
            return Err(Error::new(Kind::Damaged, message).with_next("see that the file has one JSON value per line"));
        }
        self.number += 1;
        Ok(Some(&self.line))
    }

    /// Passes over lines until `number` comes next. Returns whether the file has that many.
    pub fn skip_to(&mut self, number: i64) -> Result<bool> {
        while self.number < number {
            if self.next_line()?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes over all lines that are left and returns how many the file has. A file that breaks off counts one more
    /// than can be read of it, so that its end is never reached and the reader comes upon the damage.
    pub(super) fn count(mut self) -> i64 {
        loop {
            match self.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => return self.number,
                Err(_) => return self.number + 1,
            }
        }
    }
}

fn broken(path: &Path, number: i64, error: &io::Error) -> Error {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "breaks off",
        _ => "cannot be read",
    };
    Error::new(
        Kind::Damaged,
        format!("{} {what} in line {}: {error}", path.display(), number + 1),
    )
    .with_next("put the complete file in its place; the lines before are taken and will not be read again")
}

fn decoder(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = File::open(path)?;
    let mut magic = Vec::with_capacity(4);
    Read::by_ref(&mut file).take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    let file = BufReader::with_capacity(1 << 18, file);

    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    if magic.starts_with(GZIP_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file))));
    }
    if magic == ZSTD_MAGIC {
        let decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        return Ok(Box::new(BufReader::with_capacity(1 << 18, decoder)));
    }
    if !magic.is_empty() && matches!(extension, "gz" | "zst") {
        let message = format!("its name ends in .{extension} but its first bytes are something else");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(path: &Path) -> (Vec<Vec<u8>>, Option<Error>) {
        let mut reader = LineReader::open(path).unwrap();
        let mut lines = Vec::new();
        loop {
            match reader.next_line() {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => return (lines, None),
                Err(error) => return (lines, Some(error)),
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Lines that do not compress away, so that cutting the file cuts lines.
    fn many() -> Vec<u8> {
        (0..50_000u64)
            .flat_map(|n| format!("{{\"n\":{}}}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
            .collect()
    }

    #[test]
    fn line_ends_are_cut_and_every_other_byte_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::write(&path, b"one\r\n\n \r\r\n\xff\x00\nlast").unwrap();
        let (lines, error) = lines(&path);
        assert!(error.is_none());
        assert_eq!(lines, [&b"one"[..], b"", b" \r", b"\xff\x00", b"last"]);
    }

    #[test]
    fn plain_gzip_and_zstd_files_have_the_same_lines_whatever_a_plain_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = many();
        let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
        // A gzip file may consist of several members: concatenated files are one.
        let (front, back) = bytes.split_at(1000);
        let members = [gzip(front), gzip(back)].concat();
        for (name, content) in [
            ("a.ndjson", &bytes),
            ("a.gz", &members),
            ("a.zst", &zstd),
            ("b.json", &zstd),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            let (lines, error) = lines(&path);
            assert!(error.is_none(), "{name}");
            let mut joined = lines.join(&b'\n');
            joined.push(b'\n');
            assert!(joined == bytes, "{name} reads differently");
        }
    }

    #[test]
    fn a_file_cut_off_gives_its_whole_lines_and_then_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = many();
        for (name, content) in [
            ("a.gz", gzip(&bytes)),
            ("a.zst", zstd::encode_all(&bytes[..], 1).unwrap()),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, &content[..content.len() / 2]).unwrap();
            let (lines, error) = lines(&path);
            let error = error.expect(name);
            assert_eq!(error.kind(), Kind::Damaged);
            assert!(lines.len() > 1000, "{name}: only {} lines", lines.len());
            let place = format!("{name} breaks off in line {}", lines.len() + 1);
            assert!(error.to_string().contains(&place), "{error}");
            let mut joined = lines.join(&b'\n');
            joined.push(b'\n');
            assert!(bytes.starts_with(&joined), "{name}: a line is not whole");
            assert_eq!(LineReader::open(&path).unwrap().count(), lines.len() as i64 + 1);
        }
    }

    #[test]
    fn a_name_that_promises_compression_is_held_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        std::fs::write(&path, b"{}\n").unwrap();
        let error = LineReader::open(&path).err().unwrap();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.to_string().contains("ends in .gz"), "{error}");

        std::fs::write(&path, b"").unwrap();
        assert_eq!(lines(&path).0.len(), 0);
    }

    #[test]
    fn skipping_stops_at_the_line_asked_for_and_says_when_there_are_too_few() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        std::fs::write(&path, b"0\n1\n2\n").unwrap();
        let mut reader = LineReader::open(&path).unwrap();
        assert!(reader.skip_to(2).unwrap());
        assert_eq!((reader.number(), reader.next_line().unwrap()), (2, Some(&b"2"[..])));
        assert!(reader.skip_to(3).unwrap());
        assert!(!reader.skip_to(4).unwrap());
    }
}
