//! Whatever happens to the files beside the tables, silver goes on as if they had never been there.

mod bed;
mod damage;
mod history;
mod runs;
mod volumes;
