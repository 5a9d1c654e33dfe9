/** How a setting is edited. */
export type SettingKind = 'text' | 'bool' | 'int' | 'float' | 'json' | 'secret';

/** A setting of the hub. */
export interface Setting {
  name: string;
  kind: SettingKind;
}

/** The names the hub takes, by kind. */
const NAMES: Record<SettingKind, string> = {
  text: `
    dns site_name site_description help_email terms_of_service_url terms_of_service
    account_creation_email_instructions organization_name organization_email organization_url logo_square
    logo_rectangular splash_image index_info_html index_tagline imprint policies support support_video_call
    version_min_project version_min_compute_server version_min_browser version_recommended_browser kucalc i18n
    google_analytics nonfree_countries ssh_gateway_dns ssh_gateway_fingerprint iframe_comm_hosts
    sandbox_project_id selectable_llms default_llm version_compute_server_min_project compute_servers_dns
    samesite_remember_me user_tracking jupyter_account_id pii_retention stripe_publishable_key
    re_captcha_v3_publishable_key zendesk_username zendesk_uri support_account_id github_project_id
    github_username github_block email_backend email_smtp_server email_smtp_from email_smtp_login
    password_reset_override password_reset_smtp_server password_reset_smtp_from password_reset_smtp_login
    hyperstack_compute_servers_prefix hyperstack_compute_servers_markup_percentage
    hyperstack_balance_alert_emails google_cloud_bigquery_detailed_billing_table
    google_cloud_compute_servers_prefix google_cloud_compute_servers_image_prefix
    compute_servers_images_spec_url
  `,
  bool: `
    theming commercial require_license_to_create_project datastore ssh_gateway email_enabled verify_emails
    email_signup anonymous_signup anonymous_signup_licensed_shares share_server landing_pages
    sandbox_projects_enabled openai_enabled agent_openai_codex_enabled google_vertexai_enabled mistral_enabled
    anthropic_enabled ollama_enabled custom_openai_enabled user_defined_llm neural_search_enabled
    jupyter_api_enabled compute_servers_enabled cloud_filesystems_enabled compute_servers_google-cloud_enabled
    compute_servers_onprem_enabled compute_servers_hyperstack_enabled compute_servers_dns_enabled
    insecure_test_mode email_smtp_secure password_reset_smtp_secure prometheus_metrics
  `,
  int: `
    max_trial_projects limit_free_project_uptime unlicensed_project_collaborator_limit
    unlicensed_project_timetravel_limit llm_default_quota jupyter_project_pool_size email_smtp_port
    password_reset_smtp_port hyperstack_balance_alert_thresh
  `,
  float: `
    pay_as_you_go_spending_limit pay_as_you_go_min_payment pay_as_you_go_openai_markup_percentage
    pay_as_you_go_spending_limit_with_verified_email pay_as_you_go_spending_limit_with_credit
    compute_servers_markup_percentage
  `,
  json: `
    default_quotas max_upgrades ollama_configuration custom_openai_configuration
    pay_as_you_go_max_project_upgrades pay_as_you_go_price_project_upgrades subscription_maintenance
  `,
  secret: `
    conat_password openai_api_key google_vertexai_key mistral_api_key anthropic_api_key salesloft_api_key
    stripe_secret_key stripe_webhook_secret re_captcha_v3_secret_key zendesk_token github_token sendgrid_key
    email_smtp_password password_reset_smtp_password hyperstack_api_key hyperstack_ssh_public_key
    google_cloud_service_account_json google_cloud_bigquery_billing_service_account_json
    compute_servers_cloudflare_api_key
  `,
};

/** All of them, by name. */
export const SETTINGS: Setting[] = Object.entries(NAMES)
  .flatMap(([kind, names]) =>
    names
      .trim()
      .split(/\s+/u)
      .map((name) => ({ name, kind: kind as SettingKind })),
  )
  .sort((a, b) => a.name.localeCompare(b.name));

/** Switches that are on unless they are switched off. */
const ON = new Set(['theming', 'datastore', 'email_signup', 'email_smtp_secure', 'password_reset_smtp_secure']);

/** A vendor of language models: its key, and the switch that goes with it. */
export const VENDORS = [
  { label: 'OpenAI', key: 'openai_api_key', enabled: 'openai_enabled' },
  { label: 'Google', key: 'google_vertexai_key', enabled: 'google_vertexai_enabled' },
  { label: 'Mistral', key: 'mistral_api_key', enabled: 'mistral_enabled' },
  { label: 'Anthropic', key: 'anthropic_api_key', enabled: 'anthropic_enabled' },
] as const;

/** Is a switch on, as it is stored? */
export function isOn(name: string, stored: string | undefined): boolean {
  return stored === undefined ? ON.has(name) : stored === 'yes' || stored === 'true';
}

/** Why `value` can't be stored, if it can't. */
export function refusalOf(kind: SettingKind, value: string): string | undefined {
  if (value.trim() === '') return undefined;
  switch (kind) {
    case 'int':
      return /^\s*-?\d+\s*$/u.test(value) ? undefined : 'This must be a whole number.';
    case 'float':
      return Number.isFinite(Number(value)) ? undefined : 'This must be a number.';
    case 'json':
      return isJsonObject(value) ? undefined : 'This must be a JSON object, such as {"cores": 1}.';
    default:
      return undefined;
  }
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** A setting's name in words: `email_smtp_server` is `Email SMTP server`. */
export function wordsOf(name: string): string {
  const words = name.split(/[_-]/u).map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : (NAMES_OF[word] ?? word)));
  const text = words.join(' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const ACRONYMS = new Set('ai api dns html id ids json llm llms pii smtp ssh uri url i18n'.split(' '));
const NAMES_OF: Record<string, string> = {
  openai: 'OpenAI',
  github: 'GitHub',
  google: 'Google',
  vertexai: 'Vertex AI',
  mistral: 'Mistral',
  anthropic: 'Anthropic',
  ollama: 'Ollama',
  stripe: 'Stripe',
  zendesk: 'Zendesk',
  sendgrid: 'SendGrid',
  hyperstack: 'Hyperstack',
  cloudflare: 'Cloudflare',
  jupyter: 'Jupyter',
  conat: 'Conat',
  codex: 'Codex',
};
