/* Options, and from words to a command. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli.h"
#include "control/version.h"
#include "vmm.h"

#define SOCKET_DEFAULT "/run/convoy/control.sock"

static const struct option option_table[] = {
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'},
    {"print", required_argument, NULL, 'p'},
    {"memory", required_argument, NULL, 'm'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("convoy: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

static void print_command(FILE *stream, const struct cli_command *command)
{
    char words[64];

    (void)snprintf(words, sizeof(words), "%s%s%s %s", command->group, command->verb ? " " : "",
                   command->verb ? command->verb : "", command->args);
    fprintf(stream, "  convoy %-30s %s\n", words, command->summary);
}

static void print_help(void)
{
    puts("Usage: convoy [OPTION]... COMMAND\n"
         "Asks and tells a running convoyd.\n");
    for (size_t i = 0; i < cli_command_count; i++)
        print_command(stdout, &cli_commands[i]);
    printf("\n"
           "  -s, --socket PATH  convoyd's control socket (default $CONVOY_SOCKET,\n"
           "                     else " SOCKET_DEFAULT ")\n"
           "  -j, --json         print the result as JSON\n"
           "  -p, --print VMM    print what to give to the VMM: %s\n"
           "  -m, --memory SIZE  the guest's memory in what --print prints (default 1G)\n"
           "  -V, --version      print the version and exit\n"
           "  -h, --help         print this and exit\n"
           "\n"
           "Keys of ports and examples are in convoy(1).\n",
           vmm_names());
}

/* Reads options. False when there is nothing left to do but exit with *ret_code. */
static bool read_options(int argc, char **argv, struct cli_options *options,
                         enum cli_exit *ret_code)
{
    int letter;

    *ret_code = CLI_EXIT_OK;
    while ((letter = getopt_long(argc, argv, "s:jp:m:Vh", option_table, NULL)) != -1) {
        switch (letter) {
        case 's':
            options->socket = optarg;
            break;
        case 'j':
            options->json = true;
            break;
        case 'p':
            options->vmm = optarg;
            break;
        case 'm':
            options->memory = optarg;
            break;
        case 'V':
            puts("convoy " CONVOY_VERSION);
            return false;
        case 'h':
            print_help();
            return false;
        default:
            /* getopt has named the option that is wrong. */
            fputs("convoy --help lists commands and options\n", stderr);
            *ret_code = CLI_EXIT_USAGE;
            return false;
        }
    }
    return true;
}

static bool is_group(const char *word)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].group, word) == 0)
            return true;
    return false;
}

/* Says which words would do in the place of `word`: first words, or second ones of `group`. */
static enum cli_exit refuse_word(const char *group, const char *word)
{
    struct nearest nearest;
    char suggestion[80];

    nearest_init(&nearest, word ? word : "");
    for (size_t i = 0; i < cli_command_count; i++) {
        if (!group)
            nearest_offer(&nearest, cli_commands[i].group);
        else if (strcmp(cli_commands[i].group, group) == 0)
            nearest_offer(&nearest, cli_commands[i].verb);
    }
    nearest_format(&nearest, suggestion, sizeof(suggestion));
    if (!word && group)
        (void)cli_fail(CLI_EXIT_USAGE, "\"%s\" needs another word:", group);
    else if (!word)
        (void)cli_fail(CLI_EXIT_USAGE, "which command?");
    else
        (void)cli_fail(CLI_EXIT_USAGE, "there is no command \"%s%s%s\"%s", group ? group : "",
                       group ? " " : "", word, suggestion);
    for (size_t i = 0; i < cli_command_count; i++)
        if (!group || strcmp(cli_commands[i].group, group) == 0)
            print_command(stderr, &cli_commands[i]);
    return CLI_EXIT_USAGE;
}

/* Finds the command that the words start with; NULL after a sentence. */
static const struct cli_command *find_command(char **words, unsigned word_count)
{
    if (word_count == 0 || !is_group(words[0])) {
        refuse_word(NULL, word_count > 0 ? words[0] : NULL);
        return NULL;
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];

        if (strcmp(command->group, words[0]) == 0 &&
            (!command->verb || (word_count > 1 && strcmp(command->verb, words[1]) == 0)))
            return command;
    }
    refuse_word(words[0], word_count > 1 ? words[1] : NULL);
    return NULL;
}

static enum cli_exit check_use(const struct cli_command *command, const struct cli_options *options,
                               unsigned arg_count)
{
    if (arg_count < command->args_min || arg_count > command->args_max) {
        (void)cli_fail(CLI_EXIT_USAGE,
                       "too %s words; expected:", arg_count < command->args_min ? "few" : "many");
        print_command(stderr, command);
        return CLI_EXIT_USAGE;
    }
    if (options->vmm && !command->takes_print)
        return cli_fail(CLI_EXIT_USAGE, "--print goes with \"port add\" and \"port show\" only");
    if (options->vmm && options->json)
        return cli_fail(CLI_EXIT_USAGE, "--print and --json exclude each other");
    if (options->memory && !options->vmm)
        return cli_fail(CLI_EXIT_USAGE, "--memory goes with --print only");
    return options->vmm ? vmm_check(options->vmm) : CLI_EXIT_OK;
}

int main(int argc, char **argv)
{
    const char *socket = getenv("CONVOY_SOCKET");
    struct cli_options options = {.socket = socket && *socket ? socket : SOCKET_DEFAULT};
    const struct cli_command *command;
    unsigned used, word_count;
    enum cli_exit code;

    if (!read_options(argc, argv, &options, &code))
        return (int)code;
    word_count = (unsigned)(argc - optind);
    command = find_command(argv + optind, word_count);
    if (!command)
        return CLI_EXIT_USAGE;
    used = command->verb ? 2 : 1;
    code = check_use(command, &options, word_count - used);
    if (code == CLI_EXIT_OK)
        code = command->run(&options, argv + optind + used, word_count - used);
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail(CLI_EXIT_FAILURE, "cannot write: %m");
    return (int)code;
}
