//! What goes wrong: connections, hosts, haflow itself; and what others make go wrong.

mod attacks;
mod attacks_lock;
mod begun;
mod connections;
mod hostile;
mod interrupted;
mod killed;
mod on_hosts;
