//! The whole program on the hosts of a lab, which needs root on Linux.

mod cluster;
mod fidelity;
mod field;
mod foresee;
mod guide;
mod logins;
