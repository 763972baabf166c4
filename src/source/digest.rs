//! The fingerprint of one record, by which a re-created topic that has grown past our offset is recognised.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::Record;

/// What identifies the record at an offset: its timestamp, and a hash of its key and payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDigest {
    /// The record's timestamp in UTC microseconds.
    pub timestamp: Option<i64>,
    /// XXH3-128 of key and payload, 32 hex digits.
    pub hash: String,
}

impl RecordDigest {
    /// The digest of `record`.
    pub fn of(record: &Record<'_>) -> Self {
        Self::from_parts(record.timestamp, record.key, record.value)
    }

    /// The digest of a record given in parts, for callers that kept only those; `timestamp` in UTC microseconds.
    pub fn from_parts(timestamp: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let mut bytes = Vec::with_capacity(18 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        for part in [key, value] {
            // Presence and length go in front, so that null, empty and a byte moved over the border all differ.
            bytes.push(u8::from(part.is_some()));
            let part = part.unwrap_or_default();
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Self {
            timestamp,
            hash: format!("{:032x}", XxHash3_128::oneshot(&bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_and_shifted_bytes_have_different_digests() {
        let digests = [
            RecordDigest::from_parts(Some(1), None, None),
            RecordDigest::from_parts(Some(1), None, Some(b"")),
            RecordDigest::from_parts(Some(1), Some(b""), None),
            RecordDigest::from_parts(Some(1), Some(b"a"), Some(b"bc")),
            RecordDigest::from_parts(Some(1), Some(b"ab"), Some(b"c")),
            RecordDigest::from_parts(Some(2), Some(b"ab"), Some(b"c")),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "{index} repeats an earlier digest");
        }
    }

    #[test]
    fn a_digest_survives_json() {
        let digest = RecordDigest::from_parts(None, Some(b"key"), Some(b"value"));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<RecordDigest>(&json).unwrap(), digest);
    }
}
