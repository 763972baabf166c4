//! Partitions whose leader moves and brokers of a cluster that fall, one after the other.

use crate::kafka::bed::{Bed, Mock, Sender, lively};
use crate::kafka::suite::expected;
use crate::kafka::views::{ONCE_AND_CLOSE, Views};
use crate::support::alone::alone;
use crate::support::tier::pick;

const PARTITIONS: i32 = 3;

#[test]
fn leaders_that_move_and_brokers_that_fall_under_a_live_pipeline_cost_nothing() {
    let said = alone("faults::kafka::leaders::leaders_move_and_brokers_fall", &[]);
    let line = said.lines().find(|line| line.starts_with("leaders: "));
    println!("{}", line.unwrap());
}

#[test]
#[ignore = "started by its parent"]
fn leaders_move_and_brokers_fall() {
    let mock = Mock::cluster(3, PARTITIONS);
    let views = Views::new(&mock);
    let events = lively();
    let sender = Sender::new(&mock);
    let mut sent = 0;
    let mut moves = 0;
    views.live(|views| {
        for &leader in &[2, 3, 1, 3, 2, 1][..pick(2, 6, 6)] {
            for partition in 0..PARTITIONS {
                mock.broker().lead(mock.topic(), partition, leader).unwrap();
                moves += 1;
            }
            // Nobody but the leader is there: what comes through, comes from it.
            let others: Vec<i32> = (1..=3).filter(|broker| *broker != leader).collect();
            for broker in &others {
                mock.broker().down_one(*broker).unwrap();
            }
            sender.events(&events, sent..sent + 300, None);
            sent += 300;
            views.wait_for(sent as i64);
            for broker in &others {
                mock.broker().up_one(*broker).unwrap();
            }
        }
    });
    views.run(&ONCE_AND_CLOSE).unwrap();
    assert_eq!(views.fates(), expected(&events, sent));
    let report = views.audit();
    assert_eq!((report.records, report.gaps.len(), report.holes), (sent as i64, 0, 0));
    println!(
        "leaders: {moves} partitions moved, {} brokers taken down",
        moves / PARTITIONS * 2
    );
}
