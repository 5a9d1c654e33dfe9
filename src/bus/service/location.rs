//! Where named-call services are: subjects from locations (conat-wire.md §15.2).

use base64::Engine as _;

/// Whose service it is. Parts that are not given are written as `_`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location<'a> {
    /// An account's service.
    pub account_id: Option<&'a str>,
    /// A project's service; or, together with an account, the project it is about.
    pub project_id: Option<&'a str>,
    /// The browser it runs in.
    pub browser_id: Option<&'a str>,
    /// The compute server it runs on.
    pub compute_server_id: Option<u64>,
    /// The file it is about.
    pub path: Option<&'a str>,
}

impl Location<'_> {
    /// The subject of a service.
    pub fn subject(&self, service: &str) -> String {
        let path = self.path.map(|p| base64::engine::general_purpose::STANDARD.encode(p));
        let path = path.as_deref().unwrap_or("_");
        let or_blank = |part: Option<&str>| part.unwrap_or("_").to_owned();
        match (self.account_id, self.project_id) {
            (None, None) => format!("public.{service}"),
            (Some(account), project) => {
                let (browser, project) = (or_blank(self.browser_id), or_blank(project));
                format!("services.account-{account}.{browser}.{project}.{path}.{service}")
            }
            (None, Some(project)) => {
                let server = self.compute_server_id.map_or_else(|| "_".to_owned(), |id| id.to_string());
                format!("services.project-{project}.{server}.{service}.{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_follow_the_table() {
        assert_eq!(Location::default().subject("s"), "public.s");
        let account = Location { account_id: Some("A"), path: Some("a.md"), ..Location::default() };
        assert_eq!(account.subject("s"), "services.account-A._._.YS5tZA==.s");
        let project = Location { project_id: Some("P"), compute_server_id: Some(0), ..Location::default() };
        assert_eq!(project.subject("s"), "services.project-P.0.s._");
    }
}
