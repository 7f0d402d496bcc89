/** What a host gives the shipped worker when its conversations are documents of a model of its own. */
import mongoose from 'mongoose';
import { opencodeSession } from '../../dist/src/index.js';

const connection = await mongoose.createConnection(process.env.MONGODB_URL).asPromise();
const schema = new mongoose.Schema({ title: String });
export const conversations = connection.model('Trip', schema.plugin(opencodeSession));

export { default } from './one-directory.mjs';
