//! Cookies, the hash in one of them, bearer tokens: nothing but the right secret opens the door, and nothing breaks it.
//!
//! Input: lines. The first is a `Cookie` header, the second an `Authorization` header, the third the auth object's bearer, the
//! fourth a salt and the fifth a number of rounds for a hash that is right.

#![no_main]

use std::{cell::RefCell, fmt::Write as _, net::Ipv6Addr, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use outpost::{
    broker::{Authenticator, Handshake, User},
    config::Secret,
    http::{LiteAuthenticator, LiteUsers, SignIn},
};
use serde_json::json;

const TOKEN: &str = "s3cret-token";

struct Rig {
    authenticator: LiteAuthenticator,
    /// A fresh address each time: failures add up per address.
    address: u128,
}

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(Rig {
        authenticator: LiteAuthenticator::new(
            Arc::new(SignIn::new(Some(Secret::new(TOKEN))).expect("random bytes")),
            LiteUsers {
                visitor: User::account("00000000-1000-4000-8000-000000000001"),
                open: false,
                system_password: Some(Secret::new("system-password")),
                project_secret: Some(Secret::new("project-secret")),
                base_path: "/x y".into(),
            },
        ),
        address: 1,
    });
}

fn sign_in(cookie: &[u8], authorization: &[u8], bearer: &str) -> Option<User> {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:5000"));
    for (name, value) in [("cookie", cookie), ("authorization", authorization)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    RIG.with_borrow_mut(|rig| {
        rig.address = rig.address.wrapping_add(1 << 64);
        let address = Some(Ipv6Addr::from(rig.address).into());
        let handshake = Handshake { headers, query: String::new(), address, auth: json!({ "bearer": bearer }) };
        rig.authenticator.sign_in(&handshake).ok()
    })
}

/// The digest as the specification has it.
fn digest(password: &str, salt: &str, rounds: u32) -> String {
    let mut text = password.to_owned();
    for _ in 0..rounds {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(salt.as_bytes()).expect("any key will do");
        mac.update(text.as_bytes());
        text.clear();
        for byte in mac.finalize().into_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (cookie, authorization, bearer, salt, rounds) = (line(), line(), line(), line(), line());

    // Hashing many rounds is allowed, and slow.
    if cookie.windows(5).any(|window| window.iter().all(u8::is_ascii_digit)) {
        return;
    }
    let bearer = String::from_utf8_lossy(bearer);
    let contains = |text: &[u8], secret: &str| {
        let text = String::from_utf8_lossy(text).replace('%', "");
        text.contains(secret) || text.contains("sha") || text.chars().any(|c| !c.is_ascii())
    };
    let user = sign_in(cookie, authorization, &bearer);
    if let Some(user) = user {
        // Somebody came in without any of the secrets, in whatever way they were spelt.
        let plain = [cookie, authorization, bearer.as_bytes()]
            .iter()
            .any(|text| [TOKEN, "system-password", "project-secret"].iter().any(|secret| contains(text, secret)));
        assert!(plain || cookie.contains(&b'%'), "signed in as {:?} with nothing", user.json());
    }

    let rounds = u32::from(rounds.first().copied().unwrap_or(1)).max(1);
    let Ok(salt) = std::str::from_utf8(salt) else { return };
    if salt.is_empty() || salt.contains('$') {
        return;
    }
    let right = digest(TOKEN, salt, rounds);
    let cookie =
        |digest: &str| format!("a=b; cocalc-lite-auth={}", percent(&format!("sha256${salt}${rounds}${digest}")));
    assert!(sign_in(cookie(&right).as_bytes(), b"", "").is_some(), "a right hash was refused");
    let (last, rest) = (&right[right.len() - 1..], &right[..right.len() - 1]);
    let wrong = format!("{rest}{}", if last == "0" { '1' } else { '0' });
    assert!(sign_in(cookie(&wrong).as_bytes(), b"", "").is_none(), "a wrong hash was accepted");
});
