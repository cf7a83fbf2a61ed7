//! A ceremony, from the ENR key and the definition to charon's end.

pub mod appointment;
pub mod attempt;
pub mod define;
pub mod define_command;
pub mod definition_source;
pub mod enr;
pub mod explain;
pub mod facts;
pub mod follow;
pub mod perform;
pub mod pins;
pub mod plan;
pub mod ready;
pub mod ready_lines;
pub mod resume;
pub mod run;
pub mod show_pins;
pub mod show_plan;
