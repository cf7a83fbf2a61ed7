//! Under construction in this commit's successor.
