"""Felix' own configuration: where it comes from, which source wins, what each parameter may be, and what a change asks.

`sources` reads the environment, the file and the resources; `resolve.resolve` makes one `settings.Settings` of them.
"""
