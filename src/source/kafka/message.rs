//! A librdkafka message as a [`Record`], nothing copied.

use std::borrow::Cow;
use std::ffi::CStr;
use std::ptr;
use std::slice;

use rdkafka::bindings;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message, Timestamp};

use crate::source::{Record, RecordDigest, TimestampType};

/// Header names and values of one message.
type Headers<'a> = Vec<(Cow<'a, str>, Option<&'a [u8]>)>;

/// Hands `message` to `take` as a record.
pub(super) fn with_record(message: &BorrowedMessage<'_>, take: impl FnOnce(Record<'_>)) {
    let headers = headers(message);
    let borrowed: Vec<(&str, Option<&[u8]>)> = headers.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
    let (timestamp, timestamp_type) = timestamp(message);
    take(Record {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp,
        timestamp_type,
        key: message.key(),
        value: message.payload(),
        headers: &borrowed,
    });
}

/// The fingerprint of `message`.
pub(super) fn digest(message: &BorrowedMessage<'_>) -> RecordDigest {
    RecordDigest::from_parts(timestamp(message).0, message.key(), message.payload())
}

fn timestamp(message: &BorrowedMessage<'_>) -> (Option<i64>, TimestampType) {
    // Milliseconds that no microsecond can express are as good as none.
    let micros = |millis: i64| millis.checked_mul(1000);
    match message.timestamp() {
        Timestamp::NotAvailable => (None, TimestampType::None),
        Timestamp::CreateTime(millis) => typed(micros(millis), TimestampType::Create),
        Timestamp::LogAppendTime(millis) => typed(micros(millis), TimestampType::LogAppend),
    }
}

fn typed(timestamp: Option<i64>, kind: TimestampType) -> (Option<i64>, TimestampType) {
    match timestamp {
        Some(_) => (timestamp, kind),
        None => (None, TimestampType::None),
    }
}

/// The headers in order. rdkafka's own accessor panics on a name that is not UTF-8, which any producer can send; here
/// such a name has replacement characters. librdkafka ends a name at a zero byte.
#[expect(unsafe_code, reason = "the safe accessor panics on bytes that any producer can send")]
fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Headers<'a> {
    let mut out = Vec::new();
    let mut native = ptr::null_mut();
    // SAFETY: the message is alive for 'a and owns its headers; librdkafka parses them once and keeps them until the
    // message is destroyed. This is called from the one thread that polls.
    let found = unsafe { bindings::rd_kafka_message_headers(message.ptr(), &mut native) };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || native.is_null() {
        return out;
    }
    loop {
        let mut name = ptr::null();
        let mut value = ptr::null();
        let mut size = 0;
        // SAFETY: `native` is the header list of the live message; the out pointers are valid for writes.
        let found = unsafe { bindings::rd_kafka_header_get_all(native, out.len(), &mut name, &mut value, &mut size) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return out;
        }
        // SAFETY: librdkafka's names are zero-terminated and live as long as the header list.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        // SAFETY: a value that is not null has `size` bytes that live as long as the header list.
        let value = (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) });
        out.push((name, value));
    }
}
