//! Partitions that are added.

use crate::kafka::bed::{lively, send};
use crate::kafka::suite::expected;
use crate::kafka::views::{ONCE, ONCE_AND_CLOSE, Views};
use crate::support::real_kafka::Topic;

#[test]
#[ignore = "needs a broker: MEDALLION_TEST_KAFKA=host:port"]
fn partitions_added_between_runs_and_while_running_are_read_from_their_start() {
    let topic = Topic::create("growing", 1, &[]);
    let views = Views::new(&topic);
    let events = lively();
    send(&topic, &events, 0..500, Some(0));
    views.run(&ONCE).unwrap();

    topic.partitions(3);
    for (partition, first) in [(0, 500), (1, 600), (2, 700)] {
        send(&topic, &events, first..first + 100, Some(partition));
    }
    views.run(&ONCE).unwrap();
    assert_eq!(views.audit().records, 800);

    views.live(|views| {
        views.wait_for(800);
        topic.partitions(5);
        for (partition, first) in [(4, 800), (0, 900), (3, 1_000), (2, 1_100)] {
            send(&topic, &events, first..first + 100, Some(partition));
        }
        views.wait_for(1_200);
    });
    views.run(&ONCE_AND_CLOSE).unwrap();
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len()), (1_200, 0));
    // A repetition may be read before its original, in another partition: one of the two is the duplicate all the same.
    assert_eq!(views.fates(), expected(&events, 1_200));
    let offsets = "select count(*) from (select \"partition\" from bronze where kind = 'record' \
                   group by \"partition\" having min(\"offset\") = 0 and max(\"offset\") = count(*) - 1)";
    assert_eq!(views.number(offsets), 5);
}
