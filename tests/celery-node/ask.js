// ask.js - celery-node as a client: what it asks, and what it hears, as JSON.
//
// usage: node ask.js BROKER-URL BACKEND-URL
"use strict";

const celery = require("celery-node");

async function ask(protocol, broker, backend) {
	const client = celery.createClient(broker, backend);
	const heard = {};

	async function hear(what, task, args, kwargs) {
		const result = client.createTask(task).applyAsync(args, kwargs);

		try {
			heard[what] = { value: await result.get(30000, 20) };
		} catch (error) {
			heard[what] = { error: error.message, type: error.exc_type,
			    says: error.exc_message, module: error.exc_module };
		}
		heard[what].status = await result.status();
	}

	client.conf.TASK_PROTOCOL = protocol;
	await hear("call", "t.add", [2, 3]);
	await hear("keywords", "t.add", [2], { y: 40 });
	await hear("unicode", "t.echo", [{ "ü": ["☃", null, 1.5, "🔔"] }]);
	await hear("nothing", "t.nothing", []);
	await hear("failure", "t.fail", ["it burns"]);
	await hear("wrong call", "t.add", [1]);
	await hear("unregistered", "t.unheard_of", []);
	await client.disconnect();
	return heard;
}

async function main() {
	const [broker, backend] = process.argv.slice(2);

	console.log(JSON.stringify({ 1: await ask(1, broker, backend),
	    2: await ask(2, broker, backend) }));
}

main().catch(error => {
	console.error(error);
	process.exit(1);
});
