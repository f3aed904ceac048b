import click


@click.command()
def stats(): ...
@click.command()
def sweep(): ...
