//! The flags of the settings, made from their table.

use std::{
    env,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, builder::ValueHint, error::Error, value_parser};

use crate::{
    config::{
        self, Config, Loaded, Sources,
        settings::{FILE_ENV, Group, SETTINGS, Setting},
    },
    host::environment::{self, Environment},
};

/// Read when there is neither `--config` nor `DATA/outpost.toml`.
const SYSTEM_FILE: &str = "/etc/outpost/outpost.toml";

/// What was said on the command line about settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    file: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

/// The same flags for a command that needs few of them; the help text shows those that say where the server is.
#[derive(Clone, Debug, Default)]
pub(super) struct LocateFlags(pub Flags);

impl Flags {
    /// These flags and then `own`, which win.
    pub fn and(mut self, own: Flags) -> Flags {
        self.file = own.file.or(self.file);
        self.values.extend(own.values);
        self
    }

    /// What settings are read from. Taken once, before the environment is cleaned; a reload reads the same again.
    pub fn origin(self) -> anyhow::Result<Origin> {
        Ok(Origin { flags: self, env: environment::snapshot(), directory: env::current_dir()? })
    }

    /// Loads the settings for a command that is not the server.
    pub fn load(self) -> anyhow::Result<Loaded> {
        Ok(self.origin()?.load()?)
    }
}

/// Everything settings are read from, kept for reloads.
#[derive(Debug)]
pub(super) struct Origin {
    flags: Flags,
    env: Environment,
    directory: PathBuf,
}

impl Origin {
    /// Reads and checks the settings.
    pub fn load(&self) -> Result<Loaded, config::Error> {
        Config::load(&Sources {
            env: &self.env,
            flags: &self.flags.values,
            file: self.flags.file.as_deref(),
            system_file: Path::new(SYSTEM_FILE),
            directory: &self.directory,
        })
    }
}

fn arguments(command: Command, is_shown: fn(&Setting) -> bool) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .help_heading(Group::Paths.title())
        .help(format!("Settings file [env: {FILE_ENV}] [default: DATA/outpost.toml, else {SYSTEM_FILE}]"));
    let flags = SETTINGS.iter().filter(|setting| !setting.secret).map(|setting| {
        let arg = Arg::new(setting.name)
            .long(setting.flag())
            .value_name(setting.placeholder)
            .help_heading(setting.group.title())
            .help(help(setting))
            .hide(!is_shown(setting));
        match setting.placeholder {
            // `--flag` alone says yes; `--flag=no` is possible.
            "BOOL" => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            "DIR" => arg.value_hint(ValueHint::DirPath),
            _ => arg.allow_hyphen_values(setting.placeholder == "N"),
        }
    });
    command.args(flags).arg(file)
}

fn help(setting: &Setting) -> String {
    let default = setting.default_text().map_or_else(String::new, |text| format!(" [default: {text}]"));
    format!("{} [env: {}]{default}", setting.help, setting.env)
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Flags, Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned().or(self.file.take());
        for setting in SETTINGS.iter().filter(|setting| !setting.secret) {
            if let Some(text) = matches.get_one::<String>(setting.name) {
                self.values.push((setting.name, text.clone()));
            }
        }
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        arguments(command, |_| true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args(command)
    }
}

impl FromArgMatches for LocateFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<LocateFlags, Error> {
        Flags::from_arg_matches(matches).map(LocateFlags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for LocateFlags {
    fn augment_args(command: Command) -> Command {
        arguments(command, |setting| {
            matches!(setting.name, "home" | "data" | "ssl_dir" | "host" | "port" | "base_path")
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        LocateFlags::augment_args(command)
    }
}
