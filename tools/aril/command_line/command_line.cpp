#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "command_line/commands.hpp"
#include "support/error.hpp"

namespace aril::tool {

namespace {

constexpr const char* kVersion = "aril 0.1.0\n";

constexpr const char* kFooter = R"(Examples:
  aril run /bin/ls -- -l /
  aril run --port 8080:80 examples/nginx.aril
  aril build -o nginx.img examples/nginx.aril && aril run --port 8080:80 nginx.img

Arguments for the program stand after "--". man aril tells more.)";

}  // namespace

int run_command_line(int argument_count, char** arguments) {
  CLI::App app("Aril runs one Linux program as a virtual machine of its own.", "aril");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_help_flag("--help,-h", "Print this help");
  app.set_version_flag("--version", std::string("aril 0.1.0"));

  RunOptions run_options;
  BuildOptions build_options;
  InspectOptions inspect_options;
  ComponentsOptions components_options;
  SymbolizeOptions symbolize_options;
  std::string shell;
  std::string topic;
  CLI::App* run_app = app.add_subcommand("run", "Run a program, a manifest or an image");
  CLI::App* build_app = app.add_subcommand("build", "Write a bootable image");
  CLI::App* inspect_app = app.add_subcommand("inspect", "Show what an image holds");
  CLI::App* components_app =
      app.add_subcommand("components", "List the parts that a kernel is linked from");
  CLI::App* symbolize_app = app.add_subcommand(
      "symbolize", "Add functions and lines to a crash report that is read from stdin");
  CLI::App* completion_app = app.add_subcommand("completion", "Print a completion script");
  CLI::App* version_app = app.add_subcommand("version", "Print the version");
  CLI::App* help_app = app.add_subcommand("help", "Print help on a command");
  add_run_options(*run_app, run_options);
  // Making the others' options takes as long as all else that `aril run` thinks about.
  if (argument_count < 2 || std::string_view(arguments[1]) != run_app->get_name()) {
    add_build_options(*build_app, build_options);
    add_inspect_options(*inspect_app, inspect_options);
    add_components_options(*components_app, components_options);
    add_symbolize_options(*symbolize_app, symbolize_options);
  }
  completion_app->add_option("shell", shell, "bash, zsh or fish")->required();
  help_app->add_option("command", topic, "The command");

  // What follows "--" belongs to the program, whatever it looks like.
  char** const end = arguments + argument_count;
  char** const separator =
      std::find_if(arguments, end, [](const char* text) { return std::string_view(text) == "--"; });
  if (separator != end) {
    run_options.content.arguments.assign(separator + 1, end);
    build_options.content.arguments = run_options.content.arguments;
  }
  try {
    app.parse(static_cast<int>(separator - arguments), arguments);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ExtrasError& error) {
    throw Error(error.what(), "arguments for the program stand after \"--\"", ExitStatus::kUsage);
  } catch (const CLI::ParseError& error) {
    throw Error(error.what(), "aril help shows the commands and their options", ExitStatus::kUsage);
  }

  if (run_app->parsed()) return run(run_options);
  if (build_app->parsed()) return build(build_options);
  if (inspect_app->parsed()) return inspect(inspect_options);
  if (components_app->parsed()) return list_components(components_options);
  if (symbolize_app->parsed()) return symbolize(symbolize_options);
  if (completion_app->parsed()) {
    std::fputs(completion_script(app, shell).c_str(), stdout);
  } else if (version_app->parsed()) {
    std::fputs(kVersion, stdout);
  } else if (topic.empty()) {
    // CLI::App::help would show the help of the command that was parsed: of "help" itself.
    const std::string text =
        app.get_formatter()->make_help(&app, "aril", CLI::AppFormatMode::Normal);
    std::fputs(text.c_str(), stdout);
  } else {
    const auto named = [&](const CLI::App* command) { return command->get_name() == topic; };
    const auto commands = app.get_subcommands(named);
    if (commands.empty()) {
      throw Error(std::format("there is no command '{}'", topic), {}, ExitStatus::kUsage);
    }
    std::fputs(commands.front()->help().c_str(), stdout);
  }
  return 0;
}

}  // namespace aril::tool
