//! Language models that clients know (hub.md §12.6, Appendix B).

use super::{Settings, customize};

use Vendor::*;

/// Who runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// OpenAI.
    OpenAi,
    /// Google.
    Google,
    /// Mistral.
    Mistral,
    /// Anthropic.
    Anthropic,
}

impl Vendor {
    /// In the order in which a default is looked for.
    const ALL: [Vendor; 4] = [Google, OpenAi, Anthropic, Mistral];

    /// The setting that switches the vendor on.
    pub fn switch(self) -> &'static str {
        match self {
            OpenAi => "openai_enabled",
            Google => "google_vertexai_enabled",
            Mistral => "mistral_enabled",
            Anthropic => "anthropic_enabled",
        }
    }
}

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Who runs it.
    pub vendor: Vendor,
    /// Its name among clients.
    pub name: &'static str,
    /// Whether users may choose it.
    pub selectable: bool,
    /// Whether it costs users nothing.
    pub free: bool,
}

const fn model(vendor: Vendor, name: &'static str, selectable: bool, free: bool) -> Model {
    Model { vendor, name, selectable, free }
}

/// The default when no model can be offered at all.
const LAST_RESORT: &str = "gemini-2.5-flash-8k";
/// Prefixes of models that the settings define.
const CONFIGURED: [(&str, &str); 2] =
    [("ollama-", "ollama_configuration"), ("custom_openai-", "custom_openai_configuration")];

/// The models users may choose: those of a comma list, or all when it is empty.
pub(super) fn selectable(list: &str) -> Vec<&str> {
    let offered = |name: &str| is_known(name) || CONFIGURED.iter().any(|(prefix, _)| name.starts_with(prefix));
    let listed: Vec<_> = list.split(',').map(str::trim).filter(|name| offered(name)).collect();
    if !listed.is_empty() {
        return listed;
    }
    MODELS.iter().filter(|model| model.selectable).map(|model| model.name).collect()
}

fn is_known(name: &str) -> bool {
    MODELS.iter().any(|model| model.name == name)
}

/// The model to begin with: the stored one, or a free one of a vendor that is on, or one that the settings define, or any of
/// a vendor that is on.
pub(super) fn default_model(settings: &Settings) -> String {
    let stored = settings.text("default_llm").unwrap_or_default();
    if is_known(stored.trim()) {
        return stored.trim().to_owned();
    }
    let list = settings.text("selectable_llms").unwrap_or_default();
    let listed = selectable(&list);
    let of_vendors = |must_be_free: bool| {
        let vendors = Vendor::ALL.into_iter().filter(|vendor| settings.is_on(vendor.switch()));
        let mut models = vendors.flat_map(|vendor| MODELS.iter().filter(move |model| model.vendor == vendor));
        let found =
            models.find(|model| model.selectable && (model.free || !must_be_free) && listed.contains(&model.name));
        found.map(|model| model.name.to_owned())
    };
    let configured = || {
        let first = |(prefix, name): &(&str, &str)| {
            let models = customize::configured_models(settings, name);
            models.keys().next().map(|key| format!("{prefix}{key}"))
        };
        CONFIGURED.iter().find_map(first)
    };
    of_vendors(true).or_else(configured).or_else(|| of_vendors(false)).unwrap_or_else(|| LAST_RESORT.to_owned())
}

/// All models.
pub static MODELS: &[Model] = &[
    model(OpenAi, "gpt-3.5-turbo", false, true),
    model(OpenAi, "gpt-4o-mini-8k", true, true),
    model(OpenAi, "gpt-4o-mini", false, true),
    model(OpenAi, "gpt-4o-8k", true, false),
    model(OpenAi, "gpt-4o", false, false),
    model(OpenAi, "gpt-4-turbo-preview-8k", true, false),
    model(OpenAi, "gpt-4-turbo-preview", false, false),
    model(OpenAi, "gpt-4-turbo-8k", false, false),
    model(OpenAi, "gpt-4-turbo", false, false),
    model(OpenAi, "gpt-4", true, false),
    model(OpenAi, "gpt-4.1", true, false),
    model(OpenAi, "gpt-4.1-mini", true, true),
    model(OpenAi, "gpt-4-32k", false, false),
    model(OpenAi, "gpt-3.5-turbo-16k", false, false),
    model(OpenAi, "text-embedding-ada-002", false, false),
    model(OpenAi, "o1-mini-8k", false, true),
    model(OpenAi, "o1-mini", false, false),
    model(OpenAi, "o1-8k", false, false),
    model(OpenAi, "o1", false, false),
    model(OpenAi, "o3-8k", true, false),
    model(OpenAi, "o3", false, false),
    model(OpenAi, "o4-mini-8k", true, false),
    model(OpenAi, "o4-mini", false, false),
    model(OpenAi, "gpt-5-8k", true, false),
    model(OpenAi, "gpt-5", false, false),
    model(OpenAi, "gpt-5-mini-8k", true, true),
    model(OpenAi, "gpt-5-mini", false, true),
    model(OpenAi, "codex-agent", true, true),
    model(Google, "gemini-1.5-flash-8k", false, true),
    model(Google, "gemini-1.5-flash", false, true),
    model(Google, "gemini-pro", false, true),
    model(Google, "gemini-1.0-ultra", false, true),
    model(Google, "gemini-1.5-pro-8k", false, false),
    model(Google, "gemini-1.5-pro", false, false),
    model(Google, "gemini-2.5-flash-8k", true, true),
    model(Google, "gemini-2.5-pro-8k", true, false),
    model(Google, "gemini-2.0-flash-8k", false, true),
    model(Google, "gemini-2.0-flash-lite-8k", true, true),
    model(Mistral, "mistral-small-latest", false, true),
    model(Mistral, "mistral-medium-latest", true, true),
    model(Mistral, "mistral-large-latest", true, false),
    model(Mistral, "devstral-medium-2507", true, true),
    model(Anthropic, "claude-3-5-sonnet", false, false),
    model(Anthropic, "claude-3-5-sonnet-4k", false, false),
    model(Anthropic, "claude-3-5-haiku-8k", true, true),
    model(Anthropic, "claude-3-haiku", false, true),
    model(Anthropic, "claude-3-haiku-8k", false, true),
    model(Anthropic, "claude-3-sonnet", false, false),
    model(Anthropic, "claude-3-sonnet-4k", false, false),
    model(Anthropic, "claude-3-opus", false, false),
    model(Anthropic, "claude-3-opus-8k", false, false),
    model(Anthropic, "claude-4-sonnet-8k", true, false),
    model(Anthropic, "claude-4-opus-8k", true, false),
];

#[cfg(test)]
mod tests {
    use super::{super::tests::settings, *};

    #[test]
    fn hub_040_the_default_is_a_model_that_can_be_used() {
        assert_eq!(default_model(&settings(&[])), LAST_RESORT);
        assert_eq!(default_model(&settings(&[("openai_enabled", "yes")])), "gpt-4o-mini-8k");
        let both = settings(&[("openai_enabled", "yes"), ("google_vertexai_enabled", "yes")]);
        assert_eq!(default_model(&both), "gemini-2.5-flash-8k");
        assert_eq!(default_model(&settings(&[("anthropic_enabled", "yes")])), "claude-3-5-haiku-8k");
        assert_eq!(default_model(&settings(&[("mistral_enabled", "yes")])), "mistral-medium-latest");
        let narrow = [("openai_enabled", "yes"), ("selectable_llms", "gpt-5-mini-8k")];
        assert_eq!(default_model(&settings(&narrow)), "gpt-5-mini-8k");
        assert_eq!(default_model(&settings(&[("default_llm", "gpt-4")])), "gpt-4");
        let unknown = settings(&[("default_llm", "ollama-0"), ("ollama_configuration", "{x: {baseUrl: 'http://h'}}")]);
        assert_eq!(default_model(&unknown), "ollama-x");
    }

    #[test]
    fn lists_keep_what_is_known() {
        assert_eq!(selectable("").len(), 20);
        assert_eq!(selectable(" gpt-4 , nonsense, ollama-x"), ["gpt-4", "ollama-x"]);
        assert_eq!(selectable("nonsense").len(), 20);
    }
}
