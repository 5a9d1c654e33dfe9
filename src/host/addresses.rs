//! How this machine is called and reached.

use std::net::IpAddr;

/// The machine's name, if it has a usable one.
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty() && name != "localhost").then_some(name)
}

/// Addresses of the machine that others can use: no loopback, no link-local ones; IPv4 first.
pub fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> =
        interfaces.iter().filter(|i| !i.is_loopback() && !i.is_link_local()).map(if_addrs::Interface::ip).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
