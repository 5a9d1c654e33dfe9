//! Every setting there is (hub.md, Appendix A), as data.

use Convert::*;

/// Who may see a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Every frontend.
    Public,
    /// The server only.
    Private,
    /// The server only, and it is a key or a password.
    Secret,
}

/// What the stored text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// Itself.
    Text,
    /// Itself without white space at its ends.
    Trim,
    /// Yes or no.
    Bool,
    /// Yes or no, and no unless the site is a hosted one.
    Commercial,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// An object in relaxed JSON.
    Json,
    /// Runs of letters and digits.
    Words,
    /// Runs of what host names are made of.
    Hosts,
    /// Languages; none means all.
    Locales,
    /// Names of models; none means all that users may choose.
    Models,
    /// The name of the model to begin with (§12.6).
    DefaultModel,
    /// A host name; by default the site's.
    GatewayDns,
    /// `never`, or a number of seconds.
    Retention,
}

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Who may see it.
    pub group: Group,
    /// What the text means.
    pub convert: Convert,
    /// The text when nothing is stored.
    pub default: &'static str,
}

const fn public(name: &'static str, convert: Convert, default: &'static str) -> Setting {
    Setting { name, group: Group::Public, convert, default }
}

const fn private(name: &'static str, convert: Convert, default: &'static str) -> Setting {
    Setting { name, group: Group::Private, convert, default }
}

const fn secret(name: &'static str, convert: Convert, default: &'static str) -> Setting {
    Setting { name, group: Group::Secret, convert, default }
}

/// Finds a setting.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// All settings.
pub static SETTINGS: &[Setting] = &[
    public("dns", Trim, ""),
    public("theming", Bool, "yes"),
    public("site_name", Text, "Open CoCalc"),
    public("site_description", Text, "Collaborative Calculation"),
    public("help_email", Text, ""),
    public("terms_of_service_url", Text, ""),
    public("terms_of_service", Text, "You agree to the <em>Terms of Service</em>."),
    public("account_creation_email_instructions", Text, ""),
    public("organization_name", Text, ""),
    public("organization_email", Text, ""),
    public("organization_url", Text, ""),
    public("logo_square", Text, ""),
    public("logo_rectangular", Text, ""),
    public("splash_image", Text, ""),
    public("index_info_html", Text, ""),
    public("index_tagline", Text, ""),
    public("imprint", Text, ""),
    public("policies", Text, ""),
    public("support", Text, ""),
    public("support_video_call", Text, "https://calendly.com/cocalc/discovery?back=1"),
    public("version_min_project", Text, "0"),
    public("version_min_compute_server", Text, "0"),
    public("version_min_browser", Text, "0"),
    public("version_recommended_browser", Text, "0"),
    public("kucalc", Text, "no"),
    public("i18n", Locales, ""),
    public("google_analytics", Text, ""),
    public("commercial", Commercial, "no"),
    public("max_trial_projects", Int, "0"),
    public("nonfree_countries", Words, ""),
    public("limit_free_project_uptime", Int, "0"),
    public("require_license_to_create_project", Bool, "no"),
    public("unlicensed_project_collaborator_limit", Int, "0"),
    public("unlicensed_project_timetravel_limit", Int, "0"),
    public("datastore", Bool, "yes"),
    public("default_quotas", Json, "{}"),
    public("max_upgrades", Json, "{}"),
    public("ssh_gateway", Bool, "no"),
    public("ssh_gateway_dns", GatewayDns, ""),
    public("ssh_gateway_fingerprint", Trim, ""),
    public("iframe_comm_hosts", Hosts, ""),
    public("email_enabled", Bool, "no"),
    public("verify_emails", Bool, "no"),
    public("email_signup", Bool, "yes"),
    public("anonymous_signup", Bool, "no"),
    public("anonymous_signup_licensed_shares", Bool, "no"),
    public("share_server", Bool, "no"),
    public("landing_pages", Bool, "no"),
    public("sandbox_projects_enabled", Bool, "no"),
    public("sandbox_project_id", Text, ""),
    public("openai_enabled", Bool, "no"),
    public("agent_openai_codex_enabled", Bool, "no"),
    public("google_vertexai_enabled", Bool, "no"),
    public("mistral_enabled", Bool, "no"),
    public("anthropic_enabled", Bool, "no"),
    public("ollama_enabled", Bool, "no"),
    public("custom_openai_enabled", Bool, "no"),
    public("selectable_llms", Models, ""),
    public("default_llm", DefaultModel, ""),
    public("user_defined_llm", Bool, "no"),
    public("llm_default_quota", Int, "10"),
    public("neural_search_enabled", Bool, "no"),
    public("jupyter_api_enabled", Bool, "no"),
    public("compute_servers_enabled", Bool, "no"),
    public("cloud_filesystems_enabled", Bool, "no"),
    public("version_compute_server_min_project", Text, "0"),
    public("compute_servers_google-cloud_enabled", Bool, "no"),
    public("compute_servers_onprem_enabled", Bool, "no"),
    public("compute_servers_hyperstack_enabled", Bool, "no"),
    public("compute_servers_dns_enabled", Bool, "no"),
    public("compute_servers_dns", Trim, "change me!"),
    public("insecure_test_mode", Bool, "no"),
    public("samesite_remember_me", Text, "strict"),
    public("user_tracking", Text, "no"),
    secret("conat_password", Text, ""),
    secret("openai_api_key", Text, ""),
    secret("google_vertexai_key", Text, ""),
    secret("mistral_api_key", Text, ""),
    secret("anthropic_api_key", Text, ""),
    private("ollama_configuration", Json, "{}"),
    private("custom_openai_configuration", Json, "{}"),
    secret("salesloft_api_key", Text, ""),
    private("jupyter_account_id", Text, ""),
    private("jupyter_project_pool_size", Int, "3"),
    private("pii_retention", Retention, "never"),
    private("stripe_publishable_key", Text, ""),
    secret("stripe_secret_key", Text, ""),
    secret("stripe_webhook_secret", Text, ""),
    private("re_captcha_v3_publishable_key", Text, ""),
    secret("re_captcha_v3_secret_key", Text, ""),
    secret("zendesk_token", Text, ""),
    private("zendesk_username", Text, ""),
    private("zendesk_uri", Text, ""),
    private("support_account_id", Text, ""),
    private("github_project_id", Text, ""),
    private("github_username", Text, ""),
    secret("github_token", Text, ""),
    private("github_block", Text, ""),
    private("email_backend", Text, ""),
    secret("sendgrid_key", Text, ""),
    private("email_smtp_server", Text, ""),
    private("email_smtp_from", Text, ""),
    private("email_smtp_login", Text, ""),
    secret("email_smtp_password", Text, ""),
    private("email_smtp_port", Int, "465"),
    private("email_smtp_secure", Bool, "true"),
    private("password_reset_override", Text, "default"),
    private("password_reset_smtp_server", Text, ""),
    private("password_reset_smtp_from", Text, ""),
    private("password_reset_smtp_login", Text, ""),
    secret("password_reset_smtp_password", Text, ""),
    private("password_reset_smtp_port", Int, "465"),
    private("password_reset_smtp_secure", Bool, "true"),
    private("prometheus_metrics", Bool, "no"),
    private("pay_as_you_go_spending_limit", Float, "0"),
    private("pay_as_you_go_min_payment", Float, "2.50"),
    private("pay_as_you_go_openai_markup_percentage", Float, "30"),
    private(
        "pay_as_you_go_max_project_upgrades",
        Json,
        r#"{"network":1,"member_host":1,"always_running":1,"cores":3,"memory":16000,"disk_quota":15000}"#,
    ),
    private(
        "pay_as_you_go_price_project_upgrades",
        Json,
        r#"{"cores":32,"memory":4,"disk_quota":0.25,"member_host":4}"#,
    ),
    private("subscription_maintenance", Json, r#"{"request":6, "renew":1, "grace":3}"#),
    private("pay_as_you_go_spending_limit_with_verified_email", Float, "5"),
    private("pay_as_you_go_spending_limit_with_credit", Float, "15"),
    private("compute_servers_markup_percentage", Float, "30"),
    secret("hyperstack_api_key", Text, ""),
    private("hyperstack_compute_servers_prefix", Trim, "cocalc"),
    private("hyperstack_compute_servers_markup_percentage", Trim, ""),
    secret("hyperstack_ssh_public_key", Text, ""),
    private("hyperstack_balance_alert_thresh", Int, "25"),
    private("hyperstack_balance_alert_emails", Text, ""),
    secret("google_cloud_service_account_json", Text, ""),
    secret("google_cloud_bigquery_billing_service_account_json", Text, ""),
    private("google_cloud_bigquery_detailed_billing_table", Trim, ""),
    private("google_cloud_compute_servers_prefix", Trim, "compute"),
    private("google_cloud_compute_servers_image_prefix", Trim, "cocalc"),
    secret("compute_servers_cloudflare_api_key", Text, ""),
    private(
        "compute_servers_images_spec_url",
        Text,
        "https://raw.githubusercontent.com/sagemathinc/cocalc-compute-docker/main/images.json",
    ),
];
