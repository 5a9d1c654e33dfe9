//! Subjects and headers of virtual sockets (conat-wire.md §§17.1, 17.4).

/// The header with a command.
pub const COMMAND: &str = "CN-SocketCmd";
/// The header with a sequence number.
pub const SEQUENCE: &str = "CN-SocketSeq";
/// The header that counts attempts to connect (newer clients).
pub const ATTEMPT: &str = "CN-SocketConnectAttempt";

/// Where servers of a base subject are found.
pub fn status(base: &str) -> String {
    format!("{base}.server.status")
}

/// What a server listens to.
pub fn server_pattern(base: &str, server: &str) -> String {
    format!("{base}.server.{server}.*")
}

/// Where a client sends to.
pub fn server(base: &str, server: &str, client: &str) -> String {
    format!("{base}.server.{server}.{client}")
}

/// Where a client listens.
pub fn client(base: &str, client: &str) -> String {
    format!("{base}.client.{client}")
}

/// The concrete base subject and the client's id in the subject a client has sent to.
pub fn parse(subject: &str) -> Option<(&str, &str)> {
    let (rest, client) = subject.rsplit_once('.')?;
    let (rest, _server) = rest.rsplit_once('.')?;
    let (base, word) = rest.rsplit_once('.')?;
    (word == "server").then_some((base, client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_151_the_concrete_base_is_read_from_the_subject() {
        assert_eq!(parse("x.y.server.S1.C1"), Some(("x.y", "C1")));
        assert_eq!(parse(&server("a", "s", "c")), Some(("a", "c")));
        assert_eq!(parse("x.y.client.C1"), None);
        assert_eq!(parse("server.S.C"), None);
    }
}
