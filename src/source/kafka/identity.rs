//! Which topic of its name it is. A broker gives every topic an id of its own and never gives it again, and a fetch
//! (from its version 13 on) names the topic by the id: records fetched under one id are of one topic.
//!
//! The id that counts is the one under which this client fetches. Nobody but librdkafka knows it, and it tells in one
//! place, a debug line, which it writes before it fetches anything under the id. A broker that is asked instead may be
//! behind the one that serves the records, and answer with an id that is no more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::source::TopicId;

/// How the line names the ids.
const CHANGED: &str = " changed id from ";
const TO: &str = " to ";

/// The id under which is fetched from now on, where the line `said` by librdkafka tells one.
pub(super) fn told(said: &str) -> Option<TopicId> {
    let (_, ids) = said.split_once(CHANGED)?;
    let (_, id) = ids.split_once(TO)?;
    Some(TopicId(id.to_owned()))
}

/// The topic that one client reads.
#[derive(Debug, Default)]
pub(super) struct Identity {
    id: OnceLock<TopicId>,
    other: AtomicBool,
}

impl Identity {
    /// The topic has `id`, or must have it. The first id known is the topic's; where it ever has another, it is another
    /// topic, for good.
    pub(super) fn has(&self, id: TopicId) {
        if *self.id.get_or_init(|| id.clone()) != id {
            self.other.store(true, Ordering::Release);
        }
    }

    /// The id; none where nobody told one: the broker has none, or nothing was asked of it yet.
    pub(super) fn id(&self) -> Option<&TopicId> {
        self.id.get()
    }

    /// Whether it has become another topic.
    pub(super) fn is_other(&self) -> bool {
        self.other.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these ids, one after the other, are those of one topic.
    fn one_topic(ids: &[&str]) -> bool {
        let identity = Identity::default();
        for id in ids {
            identity.has(TopicId((*id).to_owned()));
        }
        assert_eq!(identity.id().map(|id| id.0.as_str()), ids.first().copied());
        !identity.is_other()
    }

    #[test]
    fn a_topic_is_the_same_as_long_as_it_has_no_other_id_and_never_again() {
        assert!(one_topic(&[]));
        assert!(one_topic(&["a"]));
        // librdkafka forgets an id and learns it again.
        assert!(one_topic(&["a", "a"]));
        assert!(!one_topic(&["a", "b"]));
        assert!(!one_topic(&["a", "b", "a"]));
    }

    #[test]
    fn the_id_is_found_in_the_line_that_tells_it_and_in_no_other() {
        let said = "[thrd:main]: Topic views changed id from AAAAAAAAAAAAAAAAAAAAAA to 4hE-Yb1wQo2xA0sUoQ9b_w";
        assert_eq!(told(said), Some(TopicId("4hE-Yb1wQo2xA0sUoQ9b_w".to_owned())));
        assert_eq!(told("[thrd:main]: Topic views [0] Leader 1 Epoch 0"), None);
    }
}
