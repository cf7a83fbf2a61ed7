//! A ceremony, from the ENR key and the definition to charon's end.

pub mod appointment;
pub mod attempt;
pub mod define;
pub mod define_command;
pub mod definition_source;
pub mod enr;
pub mod explain;
#[cfg(target_os = "linux")]
pub mod facts;
#[cfg(target_os = "linux")]
pub mod follow;
pub mod key;
#[cfg(target_os = "linux")]
pub mod perform;
pub mod pins;
pub mod plan;
#[cfg(target_os = "linux")]
pub mod ready;
pub mod ready_lines;
#[cfg(target_os = "linux")]
pub mod resume;
#[cfg(target_os = "linux")]
pub mod run;
pub mod show_pins;
#[cfg(target_os = "linux")]
pub mod show_plan;
