//! Delta as the layers see it: the only room that knows deltalake.
//!
//! **Invariant: rows and the positions they cover enter a table in one commit, and nothing else is the truth.**
//! A commit has three outcomes: done, lost to someone else, unknown. After an error the caller reopens the table,
//! reads its positions and decides from them. Data files of a failed commit are never deleted; vacuum does that.
//!
//! Path through the room: [`Lake`] finds a table's place, [`Table`] appends to it, [`Reader`] follows it for the
//! next layer, [`Rewrite`] swaps its content in one commit, [`maintain`] keeps its log and files small.

mod activity;
mod age;
mod commit;
mod compact;
mod crowded;
pub mod durable;
mod entries;
mod extent;
#[cfg(debug_assertions)]
mod failing;
mod failure;
mod foreign;
mod in_turn;
mod keep;
mod lake;
mod load;
pub mod maintain;
mod object;
mod opened;
mod query;
mod read;
mod recent;
mod scan;
mod spec;
mod stats;
mod swap;
mod tail;
mod torn;
mod txns;
mod write;

pub use activity::Activity;
pub use entries::{Entries, Entry};
pub use extent::Extent;
pub use keep::{LetGo, Old};
pub use lake::Lake;
pub use opened::{Append, Stored, Table};
pub use query::{Queryable, bounded_session, session};
pub use read::{Followed, Reader};
pub use scan::{Ask, conform};
pub use spec::TableSpec;
pub use swap::Rewrite;
