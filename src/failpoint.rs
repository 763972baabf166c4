//! Named places where a test ends or holds the process: every hand-over between taking rows in and having them in a
//! table. Debug builds only: a release has neither this module nor a call of it, which `tests/it/tidy.rs` holds.
//!
//! `MEDALLION_FAILPOINT=NAME[#HIT][=ACTION]` arms one. At its HIT-th passing (the first where not told) the process
//! aborts, which like SIGKILL runs no destructor; with `=pause:MILLIS` it waits and goes on, with `=stop` it waits for
//! ever. What it does goes to stderr, so that a test can tell that it got there.
//!
//! | points | where |
//! |---|---|
//! | B1 B5 B6 | bronze: buffered and nothing written; committed and state not advanced; committed and the group's offsets not sent |
//! | B2 B3 B4 | bronze's store: data file torn; written and no commit; commit put and its answer lost |
//! | B7 | any table made and nothing appended yet |
//! | S1 S2 S4 S5 | silver: range read; state changed and nothing written; rejects committed and silver not; both committed |
//! | S6 S7 S8 | snapshot of silver's state: half written; named and its directory not synced; an older one deleted |
//! | S3 | silver's store: data file written and no commit |
//! | G1 G4 G6 | gold: windows closed in memory; committed; late rows committed and gold not |
//! | G2 G3 | gold's store: data file written and no commit; commit put and its answer lost |
//! | R1 R2 R3 | replay: begun and nothing written; new files written and nothing swapped; a table swapped |
//! | M1 M2 | maintenance's store: compaction written and no commit; its commit put and the answer lost |
//! | M3 M4 | vacuum: a file deleted; between its two commits, before and after the deleting |
//! | M5 | log cleanup: an entry deleted |
//! | M6 M7 M8 | log checkpoint: written and not named by `_last_checkpoint`; that file torn; named and then deleted by others |
//!
//! G5 is no place in the code: gold keeps no snapshot that could be newer than its table; what is left of it, gold ahead
//! of a silver that was set back, is refused when gold opens. R4 and R5 are R1 to R3 while bronze goes on, and twice.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The environment variable that arms a point.
pub const VARIABLE: &str = "MEDALLION_FAILPOINT";

/// All points.
pub const POINTS: [&str; 31] = [
    "B1", "B2", "B3", "B4", "B5", "B6", "B7", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "G1", "G2", "G3", "G4",
    "G6", "R1", "R2", "R3", "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8",
];

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Abort,
    Pause(Duration),
    Stop,
}

#[derive(Debug, PartialEq, Eq)]
struct Order {
    name: String,
    hit: u32,
    action: Action,
}

static ORDER: OnceLock<Option<Order>> = OnceLock::new();
static PASSED: AtomicU32 = AtomicU32::new(0);

/// Whether a point is armed in this process.
pub fn any() -> bool {
    order().is_some()
}

/// Passes the point `name`: where this passing is the armed one, does what was ordered.
pub fn hit(name: &str) {
    if due(name) {
        act();
    }
}

/// Whether this passing of `name` is the armed one. The caller then spoils what the point is about, and calls [`act`].
pub fn due(name: &str) -> bool {
    order().is_some_and(|order| order.name == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == order.hit)
}

/// Does what was ordered: ends the process, holds it, or holds it for a while.
pub fn act() {
    let Some(Order { name, hit, action }) = order() else {
        return;
    };
    let tell = |what: &str| drop(writeln!(std::io::stderr(), "failpoint {name}#{hit}: {what}"));
    match action {
        Action::Abort => {
            tell("abort");
            std::process::abort();
        }
        Action::Pause(time) => {
            tell("pause");
            std::thread::sleep(*time);
        }
        Action::Stop => {
            tell("stop");
            loop {
                std::thread::park();
            }
        }
    }
}

fn order() -> Option<&'static Order> {
    let read = || {
        let text = std::env::var(VARIABLE).ok()?;
        let order = parse(&text);
        if order.is_none() {
            let wanted = "NAME[#HIT][=abort|=stop|=pause:MILLIS]";
            drop(writeln!(std::io::stderr(), "{VARIABLE}={text}: wanted is {wanted}"));
            std::process::exit(2);
        }
        order
    };
    ORDER.get_or_init(read).as_ref()
}

fn parse(text: &str) -> Option<Order> {
    let (point, action) = text.split_once('=').unwrap_or((text, "abort"));
    let (name, hit) = point.split_once('#').unwrap_or((point, "1"));
    let action = match action.split_once(':') {
        None if action == "abort" => Action::Abort,
        None if action == "stop" => Action::Stop,
        Some(("pause", millis)) => Action::Pause(Duration::from_millis(millis.parse().ok()?)),
        _ => return None,
    };
    let hit = hit.parse().ok().filter(|hit| *hit > 0)?;
    POINTS.contains(&name).then(|| Order {
        name: name.to_owned(),
        hit,
        action,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(name: &str, hit: u32, action: Action) -> Option<Order> {
        let name = name.to_owned();
        Some(Order { name, hit, action })
    }

    #[test]
    fn an_order_names_a_point_a_passing_and_an_action() {
        assert_eq!(parse("B4"), order("B4", 1, Action::Abort));
        assert_eq!(parse("B4#3"), order("B4", 3, Action::Abort));
        let pause = Action::Pause(Duration::from_millis(300));
        assert_eq!(parse("S1#2=pause:300"), order("S1", 2, pause));
        assert_eq!(parse("S1=stop"), order("S1", 1, Action::Stop));
        for wrong in ["", "B9", "B4#0", "B4#x", "B4=leave", "B4=pause", "B4=pause:soon"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_without_an_order_passes_every_point() {
        assert!(!any());
        POINTS.iter().for_each(|name| hit(name));
    }
}
