//! The tables of hub.md §9, as data.

use super::{Field, Table, no, own_account, own_project, yes};

/// Every table that can be queried.
pub(super) static TABLES: &[Table] = &[
    Table::stored("accounts", &["account_id"], ACCOUNTS).permanent(),
    Table::alias("collaborators", "accounts", &["account_id"], COLLABORATORS),
    Table::alias("account_profiles", "accounts", &["account_id"], ACCOUNT_PROFILES),
    Table::stored("projects", &["project_id"], PROJECTS).permanent(),
    Table::alias("projects_all", "projects", &["project_id"], PROJECTS).permanent(),
    Table::alias("projects_admin", "projects", &["project_id"], PROJECTS).permanent(),
    Table::alias("public_projects", "projects", &["project_id"], PUBLIC_PROJECTS),
    Table::alias("project_avatar_images", "projects", &["project_id"], PROJECT_AVATAR_IMAGES),
    Table::alias("project_datastore", "projects", &["project_id"], PROJECT_DATASTORE),
    Table::stored("file_use", &["id"], FILE_USE),
    Table::stored("mentions", &["time", "project_id", "path", "target"], MENTIONS),
    Table::stored("news", &["id"], NEWS),
    Table::stored("system_notifications", &["id"], SYSTEM_NOTIFICATIONS),
    Table::stored("compute_images", &["id"], COMPUTE_IMAGES),
    Table::stored("public_paths", &["id"], PUBLIC_PATHS),
    Table::stored("project_log", &["id"], PROJECT_LOG),
    Table::alias("project_log_all", "project_log", &["id"], PROJECT_LOG),
    Table::stored("server_settings", &["name"], SERVER_SETTINGS).accounts_only(),
    Table::alias("site_settings", "server_settings", &["name"], SERVER_SETTINGS).accounts_only(),
    Table::stored("messages", &["id"], MESSAGES),
    Table::stored("groups", &["group_id"], GROUPS),
    Table::stored("compute_servers", &["id"], COMPUTE_SERVERS),
    Table::stored("project_invite_tokens", &["token"], PROJECT_INVITE_TOKENS),
];

const EMPTY: &str = r#""""#;

const ACCOUNTS: &[Field] = &[
    own_account("account_id"),
    no("email_address"),
    no("org"),
    no("lti_id"),
    no("stripe_checkout_session"),
    no("email_address_verified"),
    no("email_address_problem"),
    yes("editor_settings").or(ACCOUNTS_EDITOR_SETTINGS),
    yes("other_settings").or(ACCOUNTS_OTHER_SETTINGS),
    yes("name"),
    yes("first_name").or(EMPTY).at_most(254),
    yes("last_name").or(EMPTY).at_most(254),
    yes("terminal").or(r#"{"font_size": 14, "color_scheme": "default", "font": "monospace"}"#),
    yes("autosave").or("45"),
    yes("evaluate_key").or(r#""Shift-Enter""#),
    yes("font_size").or("14"),
    no("passports").or("{}"),
    no("groups").or("[]"),
    no("last_active"),
    no("stripe_customer"),
    no("coupon_history"),
    yes("profile").or(r#"{"color": "rgb(170,170,170)"}"#),
    no("customize"),
    yes("ssh_keys").or("{}"),
    no("created"),
    no("ephemeral"),
    yes("unlisted").or("false"),
    yes("tags"),
    yes("tours"),
    no("min_balance"),
    no("balance"),
    no("balance_alert"),
    yes("auto_balance"),
    no("purchase_closing_day"),
    no("stripe_usage_subscription"),
    yes("email_daily_statements"),
    no("unread_message_count"),
    yes("sign_up_usage_intent").hidden(),
];

const COLLABORATORS: &[Field] =
    &[no("account_id"), no("first_name"), no("last_name"), no("name"), no("last_active"), no("profile")];

const ACCOUNT_PROFILES: &[Field] = &[no("account_id"), no("profile")];

const PROJECTS: &[Field] = &[
    own_project("project_id"),
    yes("name"),
    yes("title").or(EMPTY),
    yes("description").or(EMPTY),
    yes("users").or("{}"),
    no("invite"),
    yes("invite_requests"),
    yes("deleted"),
    no("host_id"),
    no("host"),
    no("settings").or(PROJECTS_SETTINGS),
    no("run_quota"),
    yes("site_license"),
    no("status"),
    no("secret_token"),
    no("state"),
    no("last_edited"),
    no("last_active"),
    yes("action_request"),
    no("course"),
    yes("compute_image").or(r#""default""#),
    no("created"),
    no("ephemeral"),
    yes("env"),
    yes("sandbox"),
    yes("avatar_image_tiny"),
    yes("color"),
    no("pay_as_you_go_quotas"),
    yes("snapshots"),
    yes("backups"),
    yes("rootfs_image"),
    yes("avatar_image_full").hidden(),
];

const FILE_USE: &[Field] =
    &[yes("id"), own_project("project_id"), yes("path"), yes("users").deep(), yes("last_edited")];

const MENTIONS: &[Field] = &[
    yes("time").time(),
    own_project("project_id"),
    yes("path"),
    yes("source"),
    yes("target"),
    yes("priority"),
    yes("description"),
    yes("fragment_id"),
    yes("users"),
];

const NEWS: &[Field] = &[no("id"), no("date"), no("title"), no("tags"), no("channel"), no("hide")];

const SYSTEM_NOTIFICATIONS: &[Field] =
    &[yes("id"), yes("time"), yes("text").or(EMPTY), yes("priority").or(r#""low""#), yes("done").or("false")];

const COMPUTE_IMAGES: &[Field] =
    &[no("id"), no("src"), no("type"), no("display"), no("url"), no("desc"), no("path"), no("disabled")];

const PUBLIC_PATHS: &[Field] = &[
    yes("id"),
    own_project("project_id"),
    yes("path"),
    yes("name"),
    no("url"),
    yes("description"),
    yes("image"),
    yes("disabled"),
    yes("unlisted"),
    yes("authenticated"),
    yes("license"),
    yes("last_edited"),
    yes("created"),
    no("last_saved"),
    no("counter"),
    yes("compute_image").or(r#""default""#),
    yes("site_license_id"),
    yes("cross_origin_isolation"),
    yes("redirect"),
    yes("jupyter_api"),
];

const PROJECT_LOG: &[Field] =
    &[yes("id"), own_project("project_id"), yes("time"), own_account("account_id"), yes("event")];

const SERVER_SETTINGS: &[Field] = &[yes("name").setting(), yes("value"), no("readonly")];

const MESSAGES: &[Field] = &[
    no("id"),
    no("sent"),
    no("from_id"),
    no("to_ids"),
    no("subject"),
    no("body"),
    no("thread_id"),
    no("read"),
    no("saved"),
    no("starred"),
    no("liked"),
    no("deleted"),
    no("expire"),
];

const GROUPS: &[Field] = &[no("group_id"), no("owner_account_ids"), no("member_account_ids"), no("title"), no("color")];

const COMPUTE_SERVERS: &[Field] = &[
    no("id"),
    no("account_id"),
    no("created"),
    no("title"),
    no("color"),
    no("cost_per_hour"),
    no("deleted"),
    no("project_id"),
    no("state_changed"),
    no("error"),
    no("state"),
    no("autorestart"),
    no("cloud"),
    no("configuration"),
    no("data"),
    no("provisioned_configuration"),
    no("avatar_image_tiny"),
    no("last_edited"),
    no("last_edited_user"),
    no("purchase_id"),
    no("position"),
    no("detailed_state"),
    no("template"),
    no("notes"),
    no("vpn_ip"),
    no("project_specific_id"),
    no("course_project_id"),
    no("course_server_id"),
    no("spend"),
];

const PROJECT_INVITE_TOKENS: &[Field] =
    &[no("project_id"), no("token"), no("expires"), no("created"), no("usage_limit"), no("counter")];

const PUBLIC_PROJECTS: &[Field] = &[no("project_id"), no("title"), no("description")];

const PROJECT_AVATAR_IMAGES: &[Field] = &[no("project_id"), no("avatar_image_full")];

const PROJECT_DATASTORE: &[Field] = &[no("project_id"), no("addons")];

const ACCOUNTS_EDITOR_SETTINGS: &str = r#"{
    "strip_trailing_whitespace": false, "show_trailing_whitespace": false, "line_wrapping": true,
    "line_numbers": true, "jupyter_line_numbers": false, "smart_indent": true, "electric_chars": true,
    "match_brackets": true, "auto_close_brackets": true, "code_folding": true, "match_xml_tags": true,
    "auto_close_xml_tags": true, "auto_close_latex": true, "spaces_instead_of_tabs": true,
    "multiple_cursors": true, "track_revisions": true, "extra_button_bar": true, "build_on_save": true,
    "first_line_number": 1, "indent_unit": 4, "tab_size": 4, "bindings": "standard", "theme": "default",
    "undo_depth": 300, "jupyter_classic": false, "jupyter_window": false, "disable_jupyter_windowing": false,
    "show_exec_warning": true, "physical_keyboard": "default", "keyboard_variant": "",
    "ask_jupyter_kernel": false, "show_my_other_cursors": false, "disable_jupyter_virtualization": true
}"#;

const ACCOUNTS_OTHER_SETTINGS: &str = r#"{
    "katex": true, "confirm_close": false, "mask_files": false, "dim_file_extensions": false, "page_size": 500,
    "standby_timeout_m": 15, "new_filenames": "iso", "show_global_info2": null, "first_steps": true,
    "newsletter": false, "time_ago_absolute": false, "no_free_warnings": false, "allow_mentions": true,
    "dark_mode": false, "dark_mode_brightness": 100, "dark_mode_contrast": 90, "dark_mode_sepia": 0,
    "news_read_until": 0, "hide_project_popovers": false, "hide_file_popovers": false,
    "hide_button_tooltips": false, "userdefined_llm": "[]", "i18n": "en", "no_email_new_messages": false,
    "use_balance_toward_subscriptions": true, "hide_navbar_balance": false
}"#;

const PROJECTS_SETTINGS: &str = r#"{
    "disk_quota": 1000, "cores": 1, "cpu_shares": 0, "memory": 1000, "memory_request": 0, "mintime": 1800,
    "network": 0, "member_host": 0, "ephemeral_state": 0, "ephemeral_disk": 0, "always_running": 0
}"#;
