//! Who may ask, and what: a browser on this machine, to read.
//!
//! A page from elsewhere cannot read answers of another origin, unless its name is made to mean this machine
//! (DNS rebinding): then the request names that host, and is refused.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What pages of this server may do: be styled by it, run its script, and ask it again.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Lets through what reads, and names this server.
pub(crate) async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if !host.is_some_and(|host| is_ours(host, port)) {
        let told = "this server answers to 127.0.0.1 and localhost only\n";
        (StatusCode::MISDIRECTED_REQUEST, told).into_response()
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "read only\n")
            .into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    response
}

/// Does a `Host` header name this machine and this port?
fn is_ours(host: &str, port: u16) -> bool {
    let names = ["127.0.0.1", "localhost", "[::1]"];
    names.iter().any(|name| {
        let rest = host.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name));
        let rest = rest.map(|_| &host[name.len()..]);
        // A port that is left out is 80.
        rest.is_some_and(|rest| rest == format!(":{port}") || rest.is_empty() && port == 80)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_by_its_own_names_is_answered() {
        for ours in ["127.0.0.1:7373", "localhost:7373", "LOCALHOST:7373", "[::1]:7373"] {
            assert!(is_ours(ours, 7373), "{ours}");
        }
        assert!(is_ours("localhost", 80));
        for other in [
            "",
            "localhost",
            "localhost:80",
            "evil.example:7373",
            "127.0.0.1.evil.example:7373",
            "localhost.evil.example:7373",
            "127.0.0.1:73730",
            "127.0.0.1:7373.evil.example",
            "evil@127.0.0.1:7373",
            "127.0.0.2:7373",
        ] {
            assert!(!is_ours(other, 7373), "{other}");
        }
    }
}
