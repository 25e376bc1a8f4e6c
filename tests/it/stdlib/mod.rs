//! What stdlib's modules do on real hosts, with real packages.

mod apt;
mod galera;
mod openstack;
mod postgres;
mod rabbit_config;
mod refusals;
mod rpm;
mod rpm_rabbit;
