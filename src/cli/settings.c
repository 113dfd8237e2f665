/* settings.c - every setting, its value, and who said so. */
#include "cli/cmd.h"
#include <stdlib.h>
#include "base/conf.h"
#include "base/json.h"

static void
print_json(const struct conf *conf)
{
	json_t *out = json_object();
	char *text;

	for (size_t i = 0; i < conf_count; i++) {
		char *value = conf_show(conf, &conf_settings[i]);

		json_object_set_new(out, conf_settings[i].name, json_pack("{s:s,s:s}",
		    "value", value, "from", conf_where(conf, &conf_settings[i])));
		free(value);
	}
	text = json_canonical(out);
	puts(text);
	free(text);
	json_decref(out);
}

static int
run(struct call *call, struct err *err)
{
	char variable[CONF_VARIABLE];

	if (opts_has(call, "json")) {
		print_json(call->conf);
		return 0;
	}
	for (size_t i = 0; i < conf_count; i++) {
		const struct setting *s = &conf_settings[i];
		char *value = conf_show(call->conf, s);

		printf("%s = %s  (%s)\n    %s\n    environment: %s\n", s->name, value,
		    conf_where(call->conf, s), s->help, conf_variable(s, variable));
		free(value);
	}
	return 0;
}

static const struct opt options[] = {
	{ "json", 'j', NULL, "print JSON" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_settings = {
	.name = "settings",
	.synopsis = "[--json]",
	.summary = "every setting, its value and where it comes from",
	.description = "Lists the settings with their values (secrets as ***), and whether each comes from\n"
	    "the default, tocsin.toml, the environment or a flag.",
	.options = options,
	.run = run,
};
