#include <CLI/CLI.hpp>
#include <format>

#include "command_line/commands.hpp"
#include "support/error.hpp"

namespace aril::tool {

namespace {

struct CommandWords {
  std::string name;
  std::string description;
  std::vector<std::pair<std::string, std::string>> options;  ///< "--name", description
};

std::vector<CommandWords> commands_of(const CLI::App& app) {
  std::vector<CommandWords> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    CommandWords words = {command->get_name(), command->get_description(), {}};
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        words.options.emplace_back("--" + name, option->get_description());
      }
    }
    commands.push_back(std::move(words));
  }
  return commands;
}

std::string quoted(std::string text) {
  std::erase_if(text, [](char c) { return c == '\'' || c == '[' || c == ']' || c == ':'; });
  return text;
}

std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string names;
  std::string cases;
  for (const CommandWords& command : commands) {
    names += command.name + " ";
    std::string options;
    for (const auto& [name, description] : command.options) options += name + " ";
    cases += std::format("    {}) options='{}' ;;\n", command.name, options);
  }
  return std::format(R"(_aril() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} options=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{}' -- "$current"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -f -- "$current") $(compgen -c -- "$current" | sort -u)) ;;
  esac
}}
complete -o filenames -F _aril aril
)",
                     names, cases);
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  std::string names;
  std::string cases;
  for (const CommandWords& command : commands) {
    names += std::format("      '{}:{}'\n", command.name, quoted(command.description));
    cases += std::format("    {})\n      _arguments", command.name);
    for (const auto& [name, description] : command.options) {
      cases += std::format(" \\\n        '*{}[{}]'", name, quoted(description));
    }
    cases += " \\\n        '*:file:_files' ;;\n";
  }
  return std::format(R"(#compdef aril
_aril() {{
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(
{}    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{}  esac
}}
compdef _aril aril
)",
                     names, cases);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string script;
  for (const CommandWords& command : commands) {
    script += std::format("complete -c aril -n __fish_use_subcommand -f -a {} -d '{}'\n",
                          command.name, quoted(command.description));
    for (const auto& [name, description] : command.options) {
      script += std::format("complete -c aril -n '__fish_seen_subcommand_from {}' -l {} -d '{}'\n",
                            command.name, name.substr(2), quoted(description));
    }
  }
  return script;
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  const std::vector<CommandWords> commands = commands_of(app);
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  if (shell == "fish") return fish_script(commands);
  throw Error(std::format("'{}' is not a shell that completion is there for", shell),
              "bash, zsh or fish", ExitStatus::kUsage);
}

}  // namespace aril::tool
