//! HTTP: one request pipeline, sign-in, TLS, the page.
